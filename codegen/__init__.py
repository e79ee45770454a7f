"""From a syntax tree to source text: operators, graphs, derivatives, simplification, plans, and a printer for each backend."""
