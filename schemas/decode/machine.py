"""The machine: one compiled loop that runs a program over a batch of records, every bound checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import INVALID, MISSING_TIME, NULL, PRESENT
from driftbus.schemas.decode import opcodes as op
from driftbus.schemas.decode.faults import (
    BAD_BOOLEAN,
    BAD_ENUM,
    BAD_LENGTH,
    BAD_UNION,
    BAD_UTF8,
    FINE,
    TOO_DEEP,
    TOO_MANY_ITEMS,
    TRAILING_BYTES,
    TRUNCATED,
)
from driftbus.schemas.decode.reading import (
    as_int,
    decimal_of,
    is_ascii,
    is_utf8,
    read_length,
    read_long,
    time_of_double,
    time_of_long,
    time_of_text,
    write_long,
    write_uuid,
)
from driftbus.schemas.decode.vectors import read_vector
from driftbus.schemas.hashing import hash_text, load_f32, load_f64, load_u64
from driftbus.schemas.kernel import leaf_kernel
from driftbus.schemas.vectorparts import PARTS as VECTOR_PARTS

DEPTH = 256
"""Open arrays, maps and nested records of recursive types; deeper ones are refused."""
ITEMS = 100_000
"""Items without bytes of their own (``array<null>``) that one record may hold."""

_RETURN, _LEFT, _END = 0, 1, 2
_PARTS = len(VECTOR_PARTS)
_MISSING = int(MISSING_TIME)
_U = np.uint64


@leaf_kernel
def _same(text: NDArray[np.uint8], a: int, b: int, length: int) -> bool:
    while length >= 8:
        if load_u64(text, a) != load_u64(text, b):
            return False
        a, b, length = a + 8, b + 8, length - 8
    if length == 0:
        return True
    return bool((load_u64(text, a) ^ load_u64(text, b)) << np.uint64(64 - 8 * length) == np.uint64(0))


@leaf_kernel
def _find_name(
    code: NDArray[np.int64], table: int, guess: int, text: NDArray[np.uint8], literals: int, at: int, length: int
) -> int:
    """Address of the entry of the name at text[at : at + length], or -1. `guess` is the likely one."""
    entry = as_int(table + op.TABLE_HEAD + guess * op.TABLE_ENTRY)
    if code[entry + 1] == length and _same(text, literals + code[entry], at, length):
        return entry
    names, mask = code[table], code[table + 1]
    index = table + op.TABLE_HEAD + names * op.TABLE_ENTRY
    value, _ = hash_text(text, at, length)
    slot = as_int(value & _U(mask))
    while code[index + slot] != 0:
        entry = as_int(table + op.TABLE_HEAD + (code[index + slot] - 1) * op.TABLE_ENTRY)
        if code[entry + 1] == length and _same(text, literals + code[entry], at, length):
            return entry
        slot = (slot + 1) & mask
    return as_int(-1)


@leaf_kernel
def run(
    code: NDArray[np.int64],
    text: NDArray[np.uint8],
    literals: int,
    slots_at: int,
    slots: int,
    slot_bytes: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    rows: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    numeric: NDArray[np.float64],
    numeric_status: NDArray[np.uint8],
    text_start: NDArray[np.int64],
    text_length: NDArray[np.int32],
    text_hash: NDArray[np.uint64],
    text_status: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    fault_pc: NDArray[np.int64],
    fault_at: NDArray[np.int64],
    frames: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> int:
    """Decode text[starts[row] : ends[row]] for each of `rows` into their cells.

    A record that can't be read leaves its cells null, its fault in `faults` and the place in
    `fault_pc` and `fault_at`; the rest are decoded all the same.

    Args:
        literals: where the program's literals stand in `text`.
        slots_at: where its slots stand; rows[i] uses `slots` of them from i * slots on.
        frames, sums: int64[3, DEPTH] and float64[9], room to work in.

    Returns:
        How many records could not be read.
    """
    bad = 0
    last_table, last_entry = as_int(-1), as_int(0)
    for i in range(rows.size):
        row = rows[i]
        at, end = as_int(starts[row]), as_int(ends[row])
        pc = as_int(0)
        depth = 0
        items = 0
        mark = at
        fault = FINE
        time = as_int(_MISSING)
        while True:
            instruction = code[pc]
            if instruction == op.DOUBLES:
                count = code[pc + 1]
                if end - at < 8 * count:
                    fault = TRUNCATED
                    break
                for k in range(pc + 3, pc + 3 + count):
                    column = _U(code[k])
                    numeric[column, _U(row)] = load_f64(text, at)
                    numeric_status[column, _U(row)] = PRESENT
                    at += 8
                pc += 3 + count
            elif instruction == op.NULLABLE_DOUBLES:
                value_branch = code[pc + 2]
                count = code[pc + 1]
                k = pc + 3
                pc += 3 + count
                while k < pc:
                    branch, after = read_long(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                    column = _U(code[k])
                    if branch == value_branch:
                        if end - after < 8:
                            fault = TRUNCATED
                            break
                        numeric[column, _U(row)] = load_f64(text, after)
                        numeric_status[column, _U(row)] = PRESENT
                        at = after + 8
                    elif branch == 1 - value_branch:
                        numeric_status[column, _U(row)] = NULL
                        at = after
                    else:
                        fault = BAD_UNION
                        break
                    k += 1
                if fault != FINE:
                    pc = k
                    break
            elif instruction == op.TEXTS or instruction == op.NULLABLE_TEXTS:
                nullable = instruction == op.NULLABLE_TEXTS
                value_branch = code[pc + 2]
                count = code[pc + 1]
                k = pc + 3
                pc += 3 + count
                while k < pc:
                    column = _U(code[k])
                    after = at
                    if nullable:
                        branch, after = read_long(text, at, end)
                        if after < 0:
                            fault = -after
                            break
                        if branch != value_branch:
                            if branch != 1 - value_branch:
                                fault = BAD_UNION
                                break
                            text_status[column, _U(row)] = NULL
                            at = after
                            k += 1
                            continue
                    length, after = read_length(text, after, end)
                    if after < 0:
                        fault = -after
                        break
                    value, plain = hash_text(text, after, length)
                    if not plain and not is_utf8(text, after, length):
                        fault = BAD_UTF8
                        break
                    text_start[column, _U(row)] = after
                    text_length[column, _U(row)] = length
                    text_hash[column, _U(row)] = value
                    text_status[column, _U(row)] = PRESENT
                    at = after + length
                    k += 1
                if fault != FINE:
                    pc = k
                    break
            elif instruction == op.LONGS or instruction == op.NULLABLE_LONGS:
                nullable = instruction == op.NULLABLE_LONGS
                value_branch = code[pc + 2]
                count = code[pc + 1]
                k = pc + 3
                pc += 3 + count
                while k < pc:
                    column = _U(code[k])
                    number, after = read_long(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                    if nullable:
                        if number == 1 - value_branch:
                            numeric_status[column, _U(row)] = NULL
                            at = after
                            k += 1
                            continue
                        if number != value_branch:
                            fault = BAD_UNION
                            break
                        number, after = read_long(text, after, end)
                        if after < 0:
                            fault = -after
                            break
                    numeric[column, _U(row)] = np.float64(number)
                    numeric_status[column, _U(row)] = PRESENT
                    at = after
                    k += 1
                if fault != FINE:
                    pc = k
                    break
            elif instruction == op.MAP_KEY:
                table = as_int(code[pc + 1])
                length, after = read_length(text, at, end)
                if after < 0:
                    fault = -after
                    break
                guess = as_int(0)
                if table == last_table:
                    guess = as_int(code[last_entry + 3])
                entry = _find_name(code, table, guess, text, literals, after, length)
                if entry >= 0:
                    pc = as_int(code[entry + 2])
                    if table == last_table:
                        code[last_entry + 3] = (entry - table - op.TABLE_HEAD) // op.TABLE_ENTRY
                    last_table, last_entry = table, entry
                else:
                    if not is_ascii(text, after, length) and not is_utf8(text, after, length):
                        fault = BAD_UTF8
                        break
                    pc += 2
                at = after + length
            elif instruction == op.NEXT:
                frames[_LEFT, depth - 1] -= 1
                if frames[_LEFT, depth - 1] > 0:
                    pc = as_int(frames[_RETURN, depth - 1]) + 4
                else:
                    depth -= 1
                    if frames[_END, depth] >= 0 and frames[_END, depth] != at:
                        fault = BAD_LENGTH
                        break
                    pc = as_int(frames[_RETURN, depth])
            elif instruction == op.END:
                if at != end:
                    fault = TRAILING_BYTES
                break
            elif instruction == op.UNION:
                branch, after = read_long(text, at, end)
                if after < 0:
                    fault = -after
                    break
                if branch < 0 or branch >= code[pc + 1]:
                    fault = BAD_UNION
                    break
                at = after
                pc = as_int(code[pc + 2 + branch])
            elif instruction == op.JUMP:
                pc = as_int(code[pc + 1])
            elif instruction == op.SKIP_FIXED:
                if end - at < code[pc + 1]:
                    fault = TRUNCATED
                    break
                at += code[pc + 1]
                pc += 2
            elif instruction == op.SKIP_TEXTS:
                for _ in range(code[pc + 1]):
                    length, after = read_length(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                    if not is_ascii(text, after, length) and not is_utf8(text, after, length):
                        fault = BAD_UTF8
                        break
                    at = after + length
                if fault != FINE:
                    break
                pc += 2
            elif instruction == op.SKIP_LONGS:
                for _ in range(code[pc + 1]):
                    number, after = read_long(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                    at = after
                if fault != FINE:
                    break
                pc += 2
            elif instruction == op.SKIP_BYTES:
                for _ in range(code[pc + 1]):
                    length, after = read_length(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                    at = after + length
                if fault != FINE:
                    break
                pc += 2
            elif instruction == op.FLOATS or instruction == op.NULLABLE_FLOATS:
                nullable = instruction == op.NULLABLE_FLOATS
                value_branch = code[pc + 2]
                count = code[pc + 1]
                k = pc + 3
                pc += 3 + count
                while k < pc:
                    column = _U(code[k])
                    after = at
                    if nullable:
                        branch, after = read_long(text, at, end)
                        if after < 0:
                            fault = -after
                            break
                        if branch != value_branch:
                            if branch != 1 - value_branch:
                                fault = BAD_UNION
                                break
                            numeric_status[column, _U(row)] = NULL
                            at = after
                            k += 1
                            continue
                    if end - after < 4:
                        fault = TRUNCATED
                        break
                    numeric[column, _U(row)] = np.float64(load_f32(text, after))
                    numeric_status[column, _U(row)] = PRESENT
                    at = after + 4
                    k += 1
                if fault != FINE:
                    pc = k
                    break
            elif instruction == op.TIME_LONG:
                number, after = read_long(text, at, end)
                if after < 0:
                    fault = -after
                    break
                time = time_of_long(number, code[pc + 1], code[pc + 2])
                at = after
                pc += 3
            elif instruction == op.SCALED_LONG:
                number, after = read_long(text, at, end)
                if after < 0:
                    fault = -after
                    break
                column = _U(code[pc + 1])
                numeric[column, _U(row)] = np.float64(number) * code[pc + 2] / code[pc + 3]
                numeric_status[column, _U(row)] = PRESENT
                at = after
                pc += 4
            elif instruction == op.SKIP_BOOLEANS:
                if end - at < code[pc + 1]:
                    fault = TRUNCATED
                    break
                for _ in range(code[pc + 1]):
                    if text[at] > 1:
                        fault = BAD_BOOLEAN
                        break
                    at += 1
                if fault != FINE:
                    break
                pc += 2
            elif instruction == op.SKIP_ENUM:
                number, after = read_long(text, at, end)
                if after < 0:
                    fault = -after
                    break
                if number < 0 or number >= code[pc + 1]:
                    fault = BAD_ENUM
                    break
                at = after
                pc += 2
            elif instruction == op.BOOLEAN_NUMBER:
                if at >= end:
                    fault = TRUNCATED
                    break
                if text[at] > 1:
                    fault = BAD_BOOLEAN
                    break
                column = _U(code[pc + 1])
                numeric[column, _U(row)] = np.float64(text[at])
                numeric_status[column, _U(row)] = PRESENT
                at += 1
                pc += 2
            elif instruction == op.ENUM_TEXT or instruction == op.BOOLEAN_TEXT:
                if instruction == op.ENUM_TEXT:
                    number, after = read_long(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                    if number < 0 or number >= code[pc + 2]:
                        fault = BAD_ENUM
                        break
                    at = after
                else:
                    if at >= end:
                        fault = TRUNCATED
                        break
                    number = as_int(text[at])
                    if number > 1:
                        fault = BAD_BOOLEAN
                        break
                    at += 1
                column = _U(code[pc + 1])
                literal = code[pc + 3] + 3 * number
                text_start[column, _U(row)] = literals + code[literal]
                text_length[column, _U(row)] = code[literal + 1]
                text_hash[column, _U(row)] = _U(code[literal + 2])
                text_status[column, _U(row)] = PRESENT
                pc += 4
            elif instruction == op.LONG_TEXT:
                number, after = read_long(text, at, end)
                if after < 0:
                    fault = -after
                    break
                column = _U(code[pc + 1])
                slot = slots_at + (i * slots + code[pc + 2]) * slot_bytes
                length = write_long(text, slot, number)
                text_start[column, _U(row)] = slot
                text_length[column, _U(row)] = length
                text_hash[column, _U(row)], _ = hash_text(text, slot, length)
                text_status[column, _U(row)] = PRESENT
                at = after
                pc += 3
            elif instruction == op.DOUBLE_TEXT or instruction == op.FLOAT_TEXT:
                size = 8 if instruction == op.DOUBLE_TEXT else 4
                if end - at < size:
                    fault = TRUNCATED
                    break
                real = load_f64(text, at) if size == 8 else np.float64(load_f32(text, at))
                column = _U(code[pc + 1])
                slot = slots_at + (i * slots + code[pc + 2]) * slot_bytes
                text_start[column, _U(row)] = slot
                if not np.isfinite(real):
                    text_status[column, _U(row)] = INVALID
                elif real == np.floor(real) and abs(real) < 1e16:
                    length = write_long(text, slot, as_int(real))
                    text_length[column, _U(row)] = length
                    text_hash[column, _U(row)], _ = hash_text(text, slot, length)
                    text_status[column, _U(row)] = PRESENT
                else:
                    text_length[column, _U(row)] = size
                    for k in range(size):
                        text[slot + k] = text[at + k]
                    text_status[column, _U(row)] = op.UNFORMATTED
                at += size
                pc += 3
            elif instruction == op.UUID_TEXT:
                if end - at < 16:
                    fault = TRUNCATED
                    break
                column = _U(code[pc + 1])
                slot = slots_at + (i * slots + code[pc + 2]) * slot_bytes
                length = write_uuid(text, slot, at)
                text_start[column, _U(row)] = slot
                text_length[column, _U(row)] = length
                text_hash[column, _U(row)], _ = hash_text(text, slot, length)
                text_status[column, _U(row)] = PRESENT
                at += 16
                pc += 3
            elif instruction == op.DECIMAL:
                length, after = as_int(code[pc + 3]), at
                if length < 0:
                    length, after = read_length(text, at, end)
                    if after < 0:
                        fault = -after
                        break
                elif end - at < length:
                    fault = TRUNCATED
                    break
                column = _U(code[pc + 1])
                numeric[column, _U(row)] = decimal_of(text, after, length, code[pc + 2])
                numeric_status[column, _U(row)] = PRESENT
                at = after + length
                pc += 4
            elif instruction == op.TIME_DOUBLE:
                if end - at < 8:
                    fault = TRUNCATED
                    break
                time = time_of_double(load_f64(text, at), code[pc + 1], code[pc + 2])
                at += 8
                pc += 3
            elif instruction == op.TIME_FLOAT:
                if end - at < 4:
                    fault = TRUNCATED
                    break
                time = time_of_double(np.float64(load_f32(text, at)), code[pc + 1], code[pc + 2])
                at += 4
                pc += 3
            elif instruction == op.TIME_TEXT:
                length, after = read_length(text, at, end)
                if after < 0:
                    fault = -after
                    break
                if not is_ascii(text, after, length) and not is_utf8(text, after, length):
                    fault = BAD_UTF8
                    break
                time = time_of_text(text, after, length)
                at = after + length
                pc += 1
            elif instruction == op.NO_TIME:
                time = as_int(_MISSING)
                pc += 1
            elif instruction == op.NUMBER_STATUS:
                numeric_status[_U(code[pc + 1]), _U(row)] = code[pc + 2]
                pc += 3
            elif instruction == op.TEXT_STATUS:
                text_status[_U(code[pc + 1]), _U(row)] = code[pc + 2]
                pc += 3
            elif instruction == op.BLOCK:
                count, after = read_long(text, at, end)
                if after < 0:
                    fault = -after
                    break
                block_end = as_int(-1)
                if count < 0:
                    size, after = read_length(text, after, end)
                    if after < 0:
                        fault = -after
                        break
                    block_end = after + size
                    # the smallest integer has no positive twin and stays negative
                    count = -count
                fixed = code[pc + 3]
                if count == 0:
                    at = after
                    pc = as_int(code[pc + 1])
                elif count < 0:
                    fault = BAD_LENGTH
                    break
                elif fixed == 0:
                    items += min(count, ITEMS + 1)
                    if items > ITEMS:
                        fault = TOO_MANY_ITEMS
                        break
                    if block_end >= 0 and block_end != after:
                        fault = BAD_LENGTH
                        break
                    at = after
                elif count > (end - after) // code[pc + 2]:
                    fault = TRUNCATED
                    break
                elif fixed > 0:
                    if block_end >= 0 and block_end != after + count * fixed:
                        fault = BAD_LENGTH
                        break
                    at = after + count * fixed
                else:
                    if depth == DEPTH:
                        fault = TOO_DEEP
                        break
                    frames[_RETURN, depth] = pc
                    frames[_LEFT, depth] = count
                    frames[_END, depth] = block_end
                    depth += 1
                    at = after
                    pc += 4
            elif instruction == op.CALL:
                if depth == DEPTH:
                    fault = TOO_DEEP
                    break
                frames[_RETURN, depth] = pc + 2
                depth += 1
                pc = as_int(code[pc + 1])
            elif instruction == op.RETURN:
                depth -= 1
                pc = as_int(frames[_RETURN, depth])
            elif instruction == op.PROJECT:
                after = read_vector(text, at, end, code, pc + 1, sums, row, numeric, numeric_status)
                if after < 0:
                    fault = -after
                    break
                at = after
                pc += 3 + _PARTS
            elif instruction == op.MARK:
                mark = at
                pc += 1
            else:  # op.REWIND
                at = mark
                pc += 1
        if fault == FINE:
            time_ms[row] = time
        else:
            bad += 1
            time_ms[row] = _MISSING
            numeric_status[:, row] = NULL
            text_status[:, row] = NULL
            faults[row] = fault
            fault_pc[row] = pc
            fault_at[row] = at - starts[row]
    return bad
