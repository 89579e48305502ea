"""What the machine can do. An instruction is its opcode followed by its operands, all in one int64 array.

Runs (plural names) do the same to several fields in a row: count, operands, then a column for each.
"""

from __future__ import annotations

END = 0  #                      the record must end here
DOUBLES = 1  #                  count, 0, columns...
NULLABLE_DOUBLES = 2  #         count, branch of the value, columns...
TEXTS = 3  #                    count, 0, columns...
NULLABLE_TEXTS = 4  #           count, branch of the value, columns...
LONGS = 5  #                    count, 0, columns...
NULLABLE_LONGS = 6  #           count, branch of the value, columns...
FLOATS = 7  #                   count, 0, columns...
NULLABLE_FLOATS = 8  #          count, branch of the value, columns...
MAP_KEY = 9  #                  address of a table of names; jumps to what the name's value is for
NEXT = 10  #                    the next item of the open block
UNION = 11  #                   count, addresses...
BLOCK = 12  #                   address after the array or map, least bytes of an item, fixed bytes of an item or -1
SKIP_FIXED = 13  #              bytes
SKIP_TEXTS = 14  #              count
SKIP_LONGS = 15  #              count
SKIP_BYTES = 16  #              count
SKIP_BOOLEANS = 17  #           count
SKIP_ENUM = 18  #               symbols
SCALED_LONG = 19  #             column, multiply, divide
BOOLEAN_NUMBER = 20  #          column
DECIMAL = 21  #                 column, scale, bytes or -1 where a length comes first
BOOLEAN_TEXT = 22  #            column, 2, address of (literal, length, hash) of false and true
ENUM_TEXT = 23  #               column, symbols, address of (literal, length, hash) of each
LONG_TEXT = 24  #               column, slot
DOUBLE_TEXT = 25  #             column, slot
FLOAT_TEXT = 26  #              column, slot
UUID_TEXT = 27  #               column, slot
TIME_LONG = 28  #               multiply, divide
TIME_DOUBLE = 29  #             multiply, divide
TIME_FLOAT = 30  #              multiply, divide
TIME_TEXT = 31  #
NO_TIME = 32  #
NUMBER_STATUS = 33  #           column, status
TEXT_STATUS = 34  #             column, status
MARK = 35  #                    remember the position
REWIND = 36  #                  go back to it
JUMP = 37  #                    address
CALL = 38  #                    address
RETURN = 39
PROJECT = 40  #                bytes of an item, branch of null or -1, a column or -1 for each part of an embedding

UNFORMATTED = 3
"""Status of a text cell whose slot holds a double that Python has yet to write as text."""
TABLE_HEAD = 2
"""Words before the entries of a table of names: names, mask of its hash index."""
TABLE_ENTRY = 4
"""Words of an entry: literal, length, address of the code, entry that followed it last time."""
