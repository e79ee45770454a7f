"""A kernel as LLVM intermediate representation, in explicit vectors: one line per instruction, no optimisation pass needed.

The function's signature is that of `codegen.llvm_arguments`. Work that does not vary from row to row, or along a row, is placed
before the loop over rows, or at the head of each row.

Each row is two passes over one loop body: the whole vectors in place, then the remaining elements in padded buffers on the stack.
No masked memory access is needed, so the text is the same for every target but for the width.
"""

from __future__ import annotations

from codegen.instructions import Span
from codegen.kernel import COMPUTE, Kernel
from codegen.llvm_arguments import HEADER_SLOTS, Array, arrays, sum_stride
from codegen.llvm_lines import BYTES, NAMES, Lines
from codegen.rare import Group, rare_groups


def print_kernel(kernel: Kernel, lanes: int, triple: str) -> str:
    """The text of `kernel` for a machine with `lanes` float32 numbers in a vector, a power of two of at most 64.

    A float64 kernel has half as many, and a kernel that calls the mathematics library one, for its calls are scalar anyway.
    The kernel's name is its symbol, so it must not be that of a function of the C library: its code would call itself.
    """
    if any(i.opcode == "call" for i in kernel.block.instructions):
        lanes = 1
    elif COMPUTE[kernel.storage] == "f64":
        lanes = max(1, lanes // 2)
    lines = _Printer(kernel, lanes).print()
    name = kernel.name.replace("\\", "\\5C").replace('"', "\\22")
    body = [line if line.endswith(":") else "  " + line for line in lines.lines]
    head = [f'target triple = "{triple}"', *sorted(lines.declarations), ""]
    return "\n".join([*head, f'define void @"{name}"(ptr %arguments, i64 %tile) {{', *body, "}", "!0 = !{i32 1}", ""])


class _Printer:
    def __init__(self, kernel: Kernel, lanes: int) -> None:
        self.out = Lines(lanes)
        self.code = kernel.block.instructions
        self.number = NAMES[COMPUTE[kernel.storage]]
        self.scalars = [i.name for i in kernel.inputs if i.span is Span.SCALAR]
        self.live = kernel.live()
        self.rare = rare_groups(kernel, self.live)
        inputs, outputs = arrays(kernel, self.live)
        self.row_inputs = {a.index: a for a in inputs if a.span is Span.ROW}
        self.streams = {a.index: a for a in inputs if a.span is not Span.ROW}
        self.stored = [a for a in outputs if a.span is Span.ELEMENT]
        self.sums = [a for a in outputs if a.span in (Span.SCALAR, Span.ROW)]
        self.channel_sums = [a for a in outputs if a.span is Span.CHANNEL]
        self.arrays = inputs + outputs
        self.label = "entry"  # of the basic block that is being written

    def print(self) -> Lines:
        self._entry()
        self._row()
        self._pass()
        self._loop()
        self._row_end()
        return self.out

    def _instructions(self, *spans: Span) -> None:
        elsewhere = {i for group in self.rare.values() for i in (*group.members, *group.body)}
        for index in self.live:
            instruction = self.code[index]
            if instruction.span not in spans or instruction.opcode == "constant":
                continue
            if index in self.rare:
                self._branch(self.rare[index])
            elif index in elsewhere:
                continue
            elif instruction.opcode != "input":
                self.out.instruction(self.code, index)
            elif instruction.span is Span.SCALAR:
                self._broadcast(index, "%scalars", str(self.scalars.index(str(instruction.attribute))))
            elif instruction.span is Span.ROW:
                self._broadcast(index, self.row_inputs[index].name, "%row")
            else:
                array = self.streams[index]
                self.out.load(f"%v{index}", array.kind, f"{array.name}.now", "%n")

    def _branch(self, group: Group) -> None:
        """The group's choices, computing what they seldom need only if some lane needs it."""
        put, name, before = self.out.put, f"v{group.condition}", self.label
        condition = self.out.operand(self.code, group.condition)
        put(f"""
            %{name}.lanes = bitcast {self.out.vector("i1")} {condition} to i{self.out.lanes}
            %{name}.any = icmp ne i{self.out.lanes} %{name}.lanes, 0
            br i1 %{name}.any, label %{name}.rare, label %{name}.after
            {name}.rare:""")
        for index in group.body:
            self.out.instruction(self.code, index)
        kinds = {i: self.out.vector(NAMES[self.code[i].type]) for i in group.members}
        operands = {i: [self.out.operand(self.code, a) for a in self.code[i].args] for i in group.members}
        for i in group.members:
            chosen, seldom, usual = operands[i]
            put(f"%v{i}.far = select {self.out.vector('i1')} {chosen}, {kinds[i]} {seldom}, {kinds[i]} {usual}")
        put(f"br label %{name}.after\n{name}.after:")
        for i in group.members:
            put(f"%v{i} = phi {kinds[i]} [ {operands[i][2]}, %{before} ], [ %v{i}.far, %{name}.rare ]")
        self.label = f"{name}.after"

    def _broadcast(self, index: int, pointer: str, place: str) -> None:
        self.out.put(f"""
            %v{index}.p = getelementptr {self.number}, ptr {pointer}, i64 {place}
            %v{index}.x = load {self.number}, ptr %v{index}.p""")
        self.out.splat(f"%v{index}", self.number, f"%v{index}.x")

    def _entry(self) -> None:
        put, vector = self.out.put, self.out.vector
        put("entry:")
        for slot, name in enumerate(("total", "channels", "rows", "stream")):
            put(f"""
                %{name}.a = getelementptr i64, ptr %arguments, i64 {slot}
                %{name} = load i64, ptr %{name}.a""")
        for slot, name in [(HEADER_SLOTS - 1, "%scalars"), *((a.slot, a.name) for a in self.arrays)]:
            put(f"""
                {name}.a = getelementptr ptr, ptr %arguments, i64 {slot}
                {name} = load ptr, ptr {name}.a""")
        for array in (*self.streams.values(), *self.stored):
            put(f"{array.name}.pad = alloca {vector(array.kind)}")
            put(f"store {vector(array.kind)} zeroinitializer, ptr {array.name}.pad")
        if self.stored:
            put("%streams = icmp ne i64 %stream, 0")
        put(f"%stride = add i64 %channels, {sum_stride(0)}")
        put("%parts = mul i64 %tile, %stride")
        for array in self.channel_sums:
            put(f"{array.name}.part = getelementptr double, ptr {array.name}, i64 %parts")
        self._instructions(Span.SCALAR)
        put("""
            %first = mul i64 %tile, %rows
            %end = add i64 %first, %rows
            br label %row.begin""")

    def _row(self) -> None:
        put = self.out.put
        put("""
            row.begin:
            %row = phi i64 [ %first, %entry ], [ %row.next, %row.end ]""")
        for array in self.sums:
            if array.span is Span.SCALAR:  # carried from row to row
                put(f"{array.name}.before = phi {self.out.vector('double')} [ zeroinitializer, %entry ], [ {array.name}.now, %row.end ]")
        put(f"""
            %base = mul i64 %row, %channels
            %left = sub i64 %total, %base
            %short = icmp slt i64 %left, %channels
            %length = select i1 %short, i64 %left, i64 %channels
            %rest = and i64 %length, {self.out.lanes - 1}
            %whole = sub i64 %length, %rest""")
        for array in (*self.streams.values(), *self.stored):
            start = "%base" if array.span is Span.ELEMENT else "0"
            put(f"""
                {array.name}.row = getelementptr {array.kind}, ptr {array.name}, i64 {start}
                {array.name}.rest = getelementptr {array.kind}, ptr {array.name}.row, i64 %whole""")
        self._instructions(Span.ROW)
        put("""
            %even = icmp eq i64 %rest, 0
            br i1 %even, label %pass.begin, label %copy.in
            copy.in:""")
        self._copies([(f"{a.name}.pad", f"{a.name}.rest", a) for a in self.streams.values()])
        put("br label %pass.begin")

    def _copies(self, copies: list[tuple[str, str, Array]]) -> None:
        for target, source, array in copies:
            size = f"{array.name}.{'out' if array in self.stored else 'in'}.bytes"
            self.out.put(f"{size} = mul i64 %rest, {BYTES[array.kind]}")
            self.out.copy(target, source, size)

    def _pass(self) -> None:
        put, double = self.out.put, self.out.vector("double")
        put("""
            pass.begin:
            %padded = phi i1 [ false, %row.begin ], [ false, %copy.in ], [ true, %pass.end ]""")
        for array in self.sums:
            start = f"{array.name}.before" if array.span is Span.SCALAR else "zeroinitializer"
            phi = f"[ {start}, %row.begin ], [ {start}, %copy.in ], [ {array.name}.now, %pass.end ]"
            put(f"{array.name}.begin = phi {double} {phi}")
        for array in (*self.streams.values(), *self.stored):
            put(f"{array.name}.now = select i1 %padded, ptr {array.name}.pad, ptr {array.name}.row")
        put(f"""
            %start = select i1 %padded, i64 %whole, i64 0
            %count = select i1 %padded, i64 %rest, i64 %whole
            %inside = select i1 %padded, i64 %rest, i64 {self.out.lanes}""")
        if self.stored:
            put("%past = select i1 %padded, i1 false, i1 %streams")
        if self.sums or self.channel_sums:
            ordinals = ", ".join(f"i64 {k}" for k in range(self.out.lanes))
            self.out.splat("%limit", "i64", "%inside")
            put(f"%valid = icmp ult {self.out.vector('i64')} <{ordinals}>, %limit")
        put("""
            %none = icmp eq i64 %count, 0
            br i1 %none, label %pass.end, label %loop""")

    def _loop(self) -> None:
        put, double = self.out.put, self.out.vector("double")
        put("""
            loop:
            %n = phi i64 [ 0, %pass.begin ], [ %n.next, %latch ]""")
        for array in self.sums:
            put(f"{array.name}.sum = phi {double} [ {array.name}.begin, %pass.begin ], [ {array.name}.more, %latch ]")
        self.label = "loop"
        self._instructions(Span.CHANNEL, Span.ELEMENT)
        self._store()
        for array in (*self.sums, *self.channel_sums):
            self._add(array)
        put(f"""
            br label %latch
            latch:
            %n.next = add i64 %n, {self.out.lanes}
            %again = icmp slt i64 %n.next, %count
            br i1 %again, label %loop, label %pass.end
            pass.end:""")
        for array in self.sums:
            put(f"{array.name}.now = phi {double} [ {array.name}.begin, %pass.begin ], [ {array.name}.more, %latch ]")
        put("br i1 %padded, label %copy.test, label %pass.begin")

    def _store(self) -> None:
        values = [(a, self.out.stored(a.name, a.kind, self.out.operand(self.code, a.index), f"{a.name}.now", "%n")) for a in self.stored]
        if not self.stored:
            return
        self.out.put("br i1 %past, label %stream.out, label %keep.out\nstream.out:")
        for array, value in values:
            self.out.store(array.name, array.kind, value, past_cache=True)
        self.out.put("br label %stored\nkeep.out:")
        for array, value in values:
            self.out.store(array.name, array.kind, value)
        self.out.put("br label %stored\nstored:")

    def _add(self, array: Array) -> None:
        """Add a value to its sum in float64, with zero for the lanes past the end of the row."""
        put, name, double = self.out.put, array.name, self.out.vector("double")
        kind = NAMES[self.code[array.index].type]
        vector, value = self.out.vector(kind), self.out.operand(self.code, array.index)
        term = f"{name}.term" if kind == "double" else f"{name}.kept"
        put(f"{term} = select {self.out.vector('i1')} %valid, {vector} {value}, {vector} zeroinitializer")
        if kind == "float":
            put(f"{name}.term = fpext {vector} {term} to {double}")
        if array.span is not Span.CHANNEL:
            put(f"{name}.more = fadd {double} {name}.sum, {name}.term")
            return
        put(f"""
            {name}.place = add i64 %start, %n
            {name}.at = getelementptr double, ptr {name}.part, i64 {name}.place
            {name}.old = load {double}, ptr {name}.at, align 8
            {name}.new = fadd {double} {name}.old, {name}.term
            store {double} {name}.new, ptr {name}.at, align 8""")

    def _row_end(self) -> None:
        put = self.out.put
        put("""
            copy.test:
            br i1 %even, label %row.end, label %copy.out
            copy.out:""")
        self._copies([(f"{a.name}.rest", f"{a.name}.pad", a) for a in self.stored])
        put("""
            br label %row.end
            row.end:""")
        for array in self.sums:
            if array.span is Span.ROW:
                total = self.out.total(array.name, f"{array.name}.now")
                put(f"{array.name}.at = getelementptr double, ptr {array.name}, i64 %row")
                put(f"store double {total}, ptr {array.name}.at")
        put("""
            %row.next = add i64 %row, 1
            %next.base = mul i64 %row.next, %channels
            %in.tile = icmp slt i64 %row.next, %end
            %in.tensor = icmp slt i64 %next.base, %total
            %more = and i1 %in.tile, %in.tensor
            br i1 %more, label %row.begin, label %done
            done:""")
        for array in self.sums:
            if array.span is Span.SCALAR:
                total = self.out.total(array.name, f"{array.name}.now")
                put(f"{array.name}.at = getelementptr double, ptr {array.name}, i64 %tile")
                put(f"store double {total}, ptr {array.name}.at")
        put("ret void")
