"""Words of a program, one after the other: runs of equal instructions, literals, and which field a word is about."""

from __future__ import annotations

from dataclasses import dataclass, field

from driftbus.schemas.errors import DecodeError

LARGEST_PROGRAM = 1 << 20
"""Words; a schema that needs more is refused."""


@dataclass(slots=True)
class Assembler:
    """A program as it grows.

    Attributes:
        code: its words.
        literals: texts that it holds.
        places: (word, field) wherever another field begins.
        path: the field that the next words are about.
        run_at: instruction that more of its kind may be added to, -1 for none.
    """

    code: list[int] = field(default_factory=list)
    literals: bytearray = field(default_factory=bytearray)
    places: list[tuple[int, str]] = field(default_factory=list)
    path: str = ""
    run_at: int = -1

    def emit(self, *words: int) -> int:
        """Append an instruction; its address.

        Raises:
            DecodeError: ``bad_schema``, the program is larger than `LARGEST_PROGRAM`.
        """
        at = len(self.code)
        if at > LARGEST_PROGRAM:
            raise DecodeError("bad_schema", "the schema is too large")
        self._note(at)
        self.code.extend(words)
        self.run_at = -1
        return at

    def _note(self, at: int) -> None:
        if not self.places or self.places[-1][1] != self.path:
            self.places.append((at, self.path))

    def here(self) -> int:
        """An address that something jumps to: no run may reach across it."""
        self.run_at = -1
        return len(self.code)

    def run(self, code: int, operand: int, column: int) -> None:
        """One more column for an instruction that reads several alike, one after the other."""
        if self.run_at >= 0 and self.code[self.run_at] == code and self.code[self.run_at + 2] == operand:
            self.code[self.run_at + 1] += 1
            self._note(len(self.code))
            self.code.append(column)
            return
        self.run_at = self.emit(code, 1, operand, column)

    def skip_run(self, code: int, amount: int) -> None:
        """So much more to pass over by an instruction of this kind."""
        if self.run_at >= 0 and self.code[self.run_at] == code:
            self.code[self.run_at + 1] += amount
        else:
            at = self.emit(code, amount)
            self.run_at = at

    def literal(self, text: str) -> tuple[int, int]:
        """Place and length of a text among the literals."""
        data = text.encode()
        at = self.literals.find(data)
        if at < 0:
            at = len(self.literals)
            self.literals += data
        return at, len(data)
