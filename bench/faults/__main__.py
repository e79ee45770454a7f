"""`python -m bench.faults`. Processes that are started import this file again, so it imports nothing else for them."""

if __name__ == "__main__":
    from bench.faults.command import app

    app(prog_name="python -m bench.faults")
