# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=True, cdivision=True
# cython: show_performance_hints=False
"""Deflate streams as tokens and back, what a compressor would have chosen, and where content was seen before.

Input is hostile: all data is in bounds-checked memoryviews, there are no pointers, and every loop ends with its input.
The format of what `Predictor` writes is in docs/delta-format.md; `_deflate.pyi` documents the classes.
"""

from array import array

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef enum:
    WINDOW = 32768
    LITERALS = 288
    CODES = 320
    # A token: a literal's value, or length << 16 | distance - 1, with this bit if length 258 is coded as 284 with 31.
    LONG_WAY = 0x8000

_LENGTH_BASE = array("i", [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258])
_LENGTH_EXTRA = array("i", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0])
_DISTANCE_BASE = array("i", [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577])
_DISTANCE_EXTRA = array("i", [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13])
_ORDER = array("i", [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])

cdef const int[::1] LENGTH_BASE = _LENGTH_BASE
cdef const int[::1] LENGTH_EXTRA = _LENGTH_EXTRA
cdef const int[::1] DISTANCE_BASE = _DISTANCE_BASE
cdef const int[::1] DISTANCE_EXTRA = _DISTANCE_EXTRA
cdef const int[::1] ORDER = _ORDER


class NotDeflate(ValueError):
    """The bytes are not a valid deflate stream."""


class Truncated(NotDeflate):
    """The stream ends too early."""


class BadResidual(ValueError):
    """Corrections do not fit the content that they are for."""


def _zeros(kind, count):
    return array(kind, bytes(array(kind).itemsize * count))


def _length_symbols():
    symbols = [0] * 259
    for symbol in range(28, -1, -1):
        for length in range(_LENGTH_BASE[symbol], _LENGTH_BASE[symbol] + (1 << _LENGTH_EXTRA[symbol])):
            symbols[min(length, 258)] = symbol
    symbols[258] = 28
    return array("B", symbols)


def _distance_symbols():
    symbols = [0] * 32769
    for symbol in range(30):
        for distance in range(_DISTANCE_BASE[symbol], _DISTANCE_BASE[symbol] + (1 << _DISTANCE_EXTRA[symbol])):
            symbols[distance] = symbol
    return array("B", symbols)


cdef const u8[::1] LENGTH_SYMBOL = _length_symbols()
cdef const u8[::1] DISTANCE_SYMBOL = _distance_symbols()


cdef int reversed_codes(u8[::1] lengths, Py_ssize_t first, Py_ssize_t count, u16[::1] codes) except -1 nogil:
    """Write the canonical codes of `count` lengths, their bits in the order in which deflate writes them."""
    cdef u32[16] number, following
    cdef u32 code = 0, turned
    cdef Py_ssize_t i
    cdef int length, bit
    for length in range(16):
        number[length] = 0
    for i in range(count):
        number[lengths[first + i] & 15] += 1
    number[0] = 0
    following[0] = 0
    for length in range(1, 16):
        code = (code + number[length - 1]) << 1
        following[length] = code
    for i in range(count):
        length = lengths[first + i] & 15
        turned = 0
        if length:
            code = following[length]
            following[length] += 1
            for bit in range(length):
                turned |= ((code >> bit) & 1) << (length - 1 - bit)
        codes[i] = <u16> (turned & 0xFFFF)
    return 0


cdef int decoding_table(u8[::1] lengths, Py_ssize_t first, Py_ssize_t count, u16[::1] codes, u16[::1] table) except -1 nogil:
    """Fill a table of 2 ** n entries, symbol << 4 | length for every n bits of input; 0 where no code begins so.

    Returns 1 if the lengths are too many for a code, 0 if it is one (perhaps incomplete).
    """
    cdef Py_ssize_t size = table.shape[0], i, at
    cdef u32 used = 0
    cdef int length
    for i in range(count):
        length = lengths[first + i]
        if length:
            used += <u32> (1 << (15 - length))
    if used > 1 << 15:
        return 1
    reversed_codes(lengths, first, count, codes)
    for at in range(size):
        table[at] = 0
    for i in range(count):
        length = lengths[first + i]
        if length:
            at = codes[i]
            while at < size:
                table[at] = <u16> (i << 4 | length)
                at += <Py_ssize_t> 1 << length
    return 0


cdef class Tables:
    """The codes of one block: their lengths, and the code lengths as the block's header writes them."""

    cdef u8[::1] lengths        # of literals and lengths, then of distances
    cdef u8[::1] small          # of the code that the header is written with
    cdef u8[::1] header         # HLIT, HDIST, HCLEN, the lengths of that code, its symbols with their extra bits
    cdef Py_ssize_t header_size
    cdef int literals, distances

    def __cinit__(self):
        self.lengths = bytearray(CODES)
        self.small = bytearray(19)
        self.header = bytearray(3 + 19 + 2 * CODES)
        self.header_size = 0
        self.literals = self.distances = 0

    cdef int fixed(self) except -1 nogil:
        cdef Py_ssize_t i
        for i in range(LITERALS):
            self.lengths[i] = 8 if i < 144 else 9 if i < 256 else 7 if i < 280 else 8
        for i in range(32):
            self.lengths[LITERALS + i] = 5
        self.literals = LITERALS
        self.distances = 30
        self.header_size = 0
        return 0


cdef class Decoder:
    """A deflate stream inside a file, read block by block; see the .pyi."""

    cdef object _read
    cdef const u8[::1] data
    cdef Py_ssize_t at, end
    cdef long long base
    cdef u64 bits
    cdef int count
    cdef bint done
    cdef Tables tables
    cdef u16[::1] codes, literal_table, distance_table, small_table
    cdef Py_ssize_t reached, written
    cdef readonly int final, kind
    cdef readonly Py_ssize_t stored     # bytes left of a stored block
    cdef readonly bint inside           # a block has begun and not ended
    cdef bint is_fixed                  # the tables are those of fixed codes: empty blocks of these have 10 bits

    def __init__(self, read, long long position=0):
        self._read = read
        self.data = b""
        self.at = self.end = 0
        self.base = position
        self.bits = 0
        self.count = 0
        self.done = False
        self.tables = Tables()
        self.codes = _zeros("H", CODES)
        self.literal_table = _zeros("H", 1 << 15)
        self.distance_table = _zeros("H", 1 << 15)
        self.small_table = _zeros("H", 1 << 7)
        self.final = self.kind = 0
        self.stored = 0
        self.inside = self.is_fixed = False

    cdef int more(self) except -1 with gil:
        if self.done:
            return 0
        data = self._read(1 << 18)
        self.base += self.end
        self.data = data
        self.at = 0
        self.end = len(data)
        self.done = self.end == 0
        return not self.done

    cdef int fill(self) except -1 nogil:
        while self.count <= 56:
            if self.at >= self.end and not self.more():
                return 0
            self.bits |= <u64> self.data[self.at] << self.count
            self.at += 1
            self.count += 8
        return 0

    cdef int need(self, int count) except -1 nogil:
        if self.count < count:
            self.fill()
            if self.count < count:
                with gil:
                    raise Truncated("the stream ends inside a block")
        return 0

    cdef int get(self, int count) except -1 nogil:
        self.need(count)
        cdef int value = <int> (self.bits & ((<u64> 1 << count) - 1))
        self.bits >>= count
        self.count -= count
        return value

    @property
    def position(self):
        return (self.base + self.at) * 8 - self.count

    @property
    def header(self):
        return bytes(self.tables.header[: self.tables.header_size])

    def align(self):
        return self.get(self.count & 7)

    def take(self, Py_ssize_t count):
        cdef bytearray taken = bytearray()
        while len(taken) < count:
            self.fill()
            if self.count < 8:
                break
            taken.append(self.get(8))
        return bytes(taken)

    def begin(self):
        cdef int length
        self.final = self.get(1)
        self.kind = self.get(2)
        self.inside = True
        if self.kind == 0:
            self.get(self.count & 7)
            length = self.get(16)
            if self.get(16) != (length ^ 0xFFFF):
                raise NotDeflate("the length of a stored block is damaged")
            self.stored = length
            self.tables.header_size = 0
        elif self.kind == 1:
            self.tables.header_size = 0
            if not self.is_fixed:
                self.tables.fixed()
                self._build()
                self.is_fixed = True
        elif self.kind == 2:
            self.is_fixed = False
            self._dynamic()
            self._build()
        else:
            raise NotDeflate("a block of an unknown kind")

    cdef int _build(self) except -1:
        cdef Tables t = self.tables
        if decoding_table(t.lengths, 0, t.literals, self.codes, self.literal_table):
            raise NotDeflate("too many codes for literals")
        cdef Py_ssize_t first = LITERALS
        if decoding_table(t.lengths, first, t.distances, self.codes, self.distance_table):
            raise NotDeflate("too many codes for distances")
        return 0

    cdef int _dynamic(self) except -1:
        cdef Tables t = self.tables
        cdef u8[::1] all_lengths = bytearray(CODES)
        cdef int literals = self.get(5) + 257, distances = self.get(5) + 1, smalls = self.get(4) + 4
        cdef int i, symbol, entry, repeats, value
        cdef Py_ssize_t size = 3
        if literals > 286:
            raise NotDeflate("too many codes for literals")
        t.header[0] = <u8> (literals - 257)
        t.header[1] = <u8> (distances - 1)
        t.header[2] = <u8> (smalls - 4)
        for i in range(19):
            t.small[i] = 0
        for i in range(smalls):
            value = self.get(3)
            t.small[ORDER[i]] = <u8> value
            t.header[size] = <u8> value
            size += 1
        if decoding_table(t.small, 0, 19, self.codes, self.small_table):
            raise NotDeflate("too many codes for code lengths")
        i = 0
        while i < literals + distances:
            self.fill()
            entry = self.small_table[<Py_ssize_t> (self.bits & 127)]
            if entry == 0:
                raise NotDeflate("an unknown code among the code lengths")
            self.get(entry & 15)
            symbol = entry >> 4
            t.header[size] = <u8> symbol
            size += 1
            if symbol < 16:
                all_lengths[i] = <u8> symbol
                i += 1
                continue
            if symbol == 16:
                if i == 0:
                    raise NotDeflate("a code length is repeated before the first")
                value = all_lengths[i - 1]
                repeats = 3 + self.get(2)
            else:
                value = 0
                repeats = 3 + self.get(3) if symbol == 17 else 11 + self.get(7)
            if i + repeats > literals + distances:
                raise NotDeflate("more code lengths than codes")
            t.header[size] = <u8> repeats
            size += 1
            while repeats:
                all_lengths[i] = <u8> value
                i += 1
                repeats -= 1
        t.header_size = size
        t.literals = literals
        t.distances = distances
        for i in range(CODES):
            t.lengths[i] = 0
        for i in range(literals):
            t.lengths[i] = all_lengths[i]
        for i in range(distances):
            t.lengths[LITERALS + i] = all_lengths[literals + i]
        return 0

    def state(self):
        return (self.final, self.kind, self.stored, self.tables.literals, self.tables.distances,
                bytes(self.tables.lengths)) if self.inside else None

    def resume(self, int skipped, state):
        self.get(skipped)
        if state is not None:
            self.final, self.kind, self.stored, self.tables.literals, self.tables.distances, lengths = state
            self.tables.lengths = bytearray(lengths)
            self.inside = True
            self.is_fixed = False
            if self.kind:
                self._build()

    def decode(self, u8[::1] out, Py_ssize_t floor, Py_ssize_t at, Py_ssize_t limit, u32[::1] tokens, Py_ssize_t written):
        """Decode the block until its end, `limit` or the last token; return where content and tokens end."""
        if not self.inside:
            raise ValueError("no block has begun")
        if floor < 0 or at < floor or limit + 258 > out.shape[0]:
            raise ValueError("the buffer is too small")
        with nogil:
            if self.kind == 0:
                self._stored(out, at, limit)
                self.written = written
            else:
                self._coded(out, floor, at, limit, tokens, written)
        return self.reached, self.written

    cdef int _stored(self, u8[::1] out, Py_ssize_t at, Py_ssize_t limit) except -1 nogil:
        cdef Py_ssize_t some
        while self.stored and at < limit:
            if self.count >= 8 or self.at >= self.end:
                out[at] = <u8> self.get(8)
                some = 1
            else:
                some = min(self.stored, limit - at, self.end - self.at)
                out[at : at + some] = self.data[self.at : self.at + some]
                self.at += some
            at += some
            self.stored -= some
        self.inside = self.stored > 0
        self.reached = at
        return 0

    cdef int _coded(self, u8[::1] out, Py_ssize_t floor, Py_ssize_t at, Py_ssize_t limit, u32[::1] tokens, Py_ssize_t written) except -1 nogil:
        cdef Py_ssize_t most = tokens.shape[0], source, position = self.at, end = self.end
        cdef u64 bits = self.bits
        cdef int count = self.count, symbol, entry, length, distance, extra
        cdef u16[::1] literal_table = self.literal_table, distance_table = self.distance_table
        cdef const u8[::1] data = self.data
        cdef const char *problem = NULL
        while at < limit and written < most:
            if count < 48:
                if end - position >= 8:
                    while count <= 56:
                        bits |= <u64> data[position] << count
                        position += 1
                        count += 8
                else:
                    self.bits = bits
                    self.count = count
                    self.at = position
                    self.fill()
                    bits = self.bits
                    count = self.count
                    position = self.at
                    end = self.end
                    data = self.data
            entry = literal_table[<Py_ssize_t> (bits & 0x7FFF)]
            symbol = entry >> 4
            entry &= 15
            bits >>= entry
            count -= entry
            if count < 0 or entry == 0:
                problem = b"an unknown code, or the end, inside a block"
                break
            if symbol < 256:
                out[at] = <u8> symbol
                tokens[written] = symbol
                at += 1
                written += 1
                continue
            if symbol == 256:
                self.inside = False
                break
            symbol -= 257
            if symbol >= 29:
                problem = b"an unknown length"
                break
            extra = LENGTH_EXTRA[symbol]
            length = LENGTH_BASE[symbol] + <int> (bits & ((<u64> 1 << extra) - 1))
            bits >>= extra
            count -= extra
            entry = distance_table[<Py_ssize_t> (bits & 0x7FFF)]
            bits >>= entry & 15
            count -= entry & 15
            if entry == 0 or entry >> 4 >= 30:
                problem = b"an unknown distance"
                break
            extra = DISTANCE_EXTRA[entry >> 4]
            distance = DISTANCE_BASE[entry >> 4] + <int> (bits & ((<u64> 1 << extra) - 1))
            bits >>= extra
            count -= extra
            source = at - distance
            if count < 0 or source < floor:
                problem = b"a distance before the beginning, or the end, inside a block"
                break
            tokens[written] = <u32> (length << 16 | (distance - 1) | (LONG_WAY if symbol == 27 and length == 258 else 0))
            written += 1
            while length:
                out[at] = out[source]
                at += 1
                source += 1
                length -= 1
        self.bits = bits
        self.count = count
        self.at = position
        self.reached = at
        self.written = written
        if problem != NULL:
            with gil:
                raise NotDeflate(problem.decode())
        return 0


cdef class Encoder:
    """Tokens as the deflate stream that they are from; see the .pyi."""

    cdef u64 bits
    cdef int count
    cdef u8[::1] out
    cdef Py_ssize_t at
    cdef Tables tables
    cdef u16[::1] literal_codes, distance_codes, small_codes
    cdef int kind

    def __init__(self):
        self.bits = 0
        self.count = 0
        self.out = bytearray(1 << 17)
        self.at = 0
        self.tables = Tables()
        self.literal_codes = _zeros("H", CODES)
        self.distance_codes = _zeros("H", CODES)
        self.small_codes = _zeros("H", CODES)
        self.kind = 0

    cdef int put(self, u64 value, int count) except -1 nogil:
        self.bits |= value << self.count
        self.count += count
        while self.count >= 8:
            self.out[self.at] = <u8> (self.bits & 0xFF)
            self.at += 1
            self.bits >>= 8
            self.count -= 8
        return 0

    def align(self):
        if self.count:
            self.put(0, 8 - self.count)

    def take(self):
        cdef bytes made = bytes(self.out[: self.at])
        self.at = 0
        return made

    def begin(self, int final, int kind, Py_ssize_t stored, const u8[::1] header):
        self.put(final & 1, 1)
        self.put(kind & 3, 2)
        self.kind = kind
        if kind == 0:
            self.align()
            self.put(stored & 0xFFFF, 16)
            self.put((stored & 0xFFFF) ^ 0xFFFF, 16)
        elif kind == 1:
            self.tables.fixed()
        elif kind == 2:
            self._dynamic(header)
        else:
            raise BadResidual("a block of an unknown kind")
        if kind:
            reversed_codes(self.tables.lengths, 0, LITERALS, self.literal_codes)
            reversed_codes(self.tables.lengths, LITERALS, 32, self.distance_codes)

    cdef int _dynamic(self, const u8[::1] header) except -1:
        cdef Tables t = self.tables
        cdef u8[::1] all_lengths = bytearray(CODES)
        cdef int literals, distances, smalls, symbol, repeats, value, i
        cdef Py_ssize_t at = 3
        if header.shape[0] < 3 or header[0] > 29 or header[1] > 31 or header[2] > 15:
            raise BadResidual("a header without its counts")
        literals = header[0] + 257
        distances = header[1] + 1
        smalls = header[2] + 4
        self.put(header[0] | header[1] << 5 | header[2] << 10, 14)
        for i in range(19):
            t.small[i] = 0
        if header.shape[0] < 3 + smalls:
            raise BadResidual("a header that is too short")
        for i in range(smalls):
            t.small[ORDER[i]] = header[at] & 7
            self.put(header[at] & 7, 3)
            at += 1
        reversed_codes(t.small, 0, 19, self.small_codes)
        i = 0
        while i < literals + distances:
            if at + 1 >= header.shape[0] and not (at < header.shape[0] and header[at] < 16):
                raise BadResidual("a header that is too short")
            symbol = header[at]
            at += 1
            if symbol > 18:
                raise BadResidual("an unknown code length")
            self.put(self.small_codes[symbol], t.small[symbol])
            if symbol < 16:
                all_lengths[i] = <u8> symbol
                i += 1
                continue
            repeats = header[at]
            at += 1
            value = all_lengths[i - 1] if symbol == 16 and i else 0
            if repeats < (11 if symbol == 18 else 3) or i + repeats > literals + distances:
                raise BadResidual("a repeated code length that does not fit")
            self.put((repeats - (11 if symbol == 18 else 3)) & 127, 2 if symbol == 16 else 3 if symbol == 17 else 7)
            while repeats:
                all_lengths[i] = <u8> value
                i += 1
                repeats -= 1
        for i in range(CODES):
            t.lengths[i] = 0
        for i in range(literals):
            t.lengths[i] = all_lengths[i]
        for i in range(distances):
            t.lengths[LITERALS + i] = all_lengths[literals + i]
        return 0

    def end(self):
        """End the block."""
        if self.kind:
            self.put(self.literal_codes[256], self.tables.lengths[256])

    def encode(self, const u32[::1] tokens, Py_ssize_t first, Py_ssize_t last):
        """Write at most 16384 tokens; call `take` in between."""
        if first < 0 or last > tokens.shape[0] or last - first > 16384:
            raise ValueError("too many tokens at once")
        with nogil:
            self._encode(tokens, first, last)

    cdef int _encode(self, const u32[::1] tokens, Py_ssize_t first, Py_ssize_t last) except -1 nogil:
        cdef Py_ssize_t i, at = self.at
        cdef u32 token
        cdef u64 bits = self.bits
        cdef int count = self.count, length, distance, symbol, size
        cdef u8[::1] out = self.out, lengths = self.tables.lengths
        cdef u16[::1] literal_codes = self.literal_codes, distance_codes = self.distance_codes
        cdef bint stored = self.kind == 0
        for i in range(first, last):
            token = tokens[i]
            if token < 256:
                if stored:
                    bits |= <u64> token << count
                    count += 8
                else:
                    bits |= <u64> literal_codes[token] << count
                    count += lengths[token]
            else:
                length = (token >> 16) & 0x1FF
                if length < 3 or length > 258 or stored:
                    with gil:
                        raise BadResidual("a length that deflate does not have")
                symbol = LENGTH_SYMBOL[length]
                if token & LONG_WAY:
                    if length != 258:
                        with gil:
                            raise BadResidual("only length 258 is coded in two ways")
                    symbol = 27
                bits |= <u64> literal_codes[257 + symbol] << count
                count += lengths[257 + symbol]
                bits |= <u64> (length - LENGTH_BASE[symbol]) << count
                count += LENGTH_EXTRA[symbol]
                while count >= 8:
                    out[at] = <u8> (bits & 0xFF)
                    at += 1
                    bits >>= 8
                    count -= 8
                distance = <int> (token & 0x7FFF) + 1
                symbol = DISTANCE_SYMBOL[distance]
                bits |= <u64> distance_codes[symbol] << count
                count += lengths[LITERALS + symbol]
                bits |= <u64> (distance - DISTANCE_BASE[symbol]) << count
                count += DISTANCE_EXTRA[symbol]
            while count >= 8:
                out[at] = <u8> (bits & 0xFF)
                at += 1
                bits >>= 8
                count -= 8
        self.bits = bits
        self.count = count
        self.at = at
        return 0


cdef class Predictor:
    """What a compressor with hash chains chooses, and corrections where another choice was made; see the .pyi."""

    # Parameters
    cdef int shortest, good, lazy, nice, chain, farthest, near, hashing
    cdef bint greedy
    # State
    cdef int[::1] head, previous
    cdef const u8[::1] content
    cdef Py_ssize_t floor, end, inserted, pending
    cdef int pending_length, pending_distance, found_length, found_distance
    cdef Py_ssize_t run
    # Corrections, written or read
    cdef const u8[::1] residual
    cdef Py_ssize_t residual_at
    cdef u8[::1] out
    cdef Py_ssize_t out_at
    cdef int code, length, distance
    # Steps of searches that are left: content can be made for which each takes thousands of times as long as usual
    cdef long long allowed, left

    def __init__(self, parameters, long long steps):
        self.allowed = steps
        self.left = 0
        (self.hashing, self.shortest, self.good, self.lazy, self.nice, self.chain, self.farthest, self.near,
         self.greedy) = parameters
        if not (0 <= self.hashing <= 1 and 3 <= self.shortest <= 4 and 0 < self.farthest <= WINDOW
                and 0 <= self.chain <= 4096 and self.nice <= 258):
            raise BadResidual("parameters that no compressor has")
        self.head = _zeros("i", 1 << 17)
        self.previous = _zeros("i", WINDOW)
        self.out = bytearray(1 << 17)

    def start(self, const u8[::1] content, Py_ssize_t floor, Py_ssize_t at, residual=None):
        cdef Py_ssize_t i
        if floor < 0 or at < floor or at > content.shape[0]:
            raise ValueError("outside of the content")
        self.content = content
        self.residual = residual or b""
        self.residual_at = self.out_at = 0
        self.floor = floor
        self.end = content.shape[0]
        self.left = self.allowed * (self.end - at + 1024)
        self.pending = -1
        self.inserted = max(floor, at - WINDOW)
        for i in range(self.head.shape[0]):
            self.head[i] = -1
        with nogil:
            self.insert(at)
        self._following()
        if residual is None:
            self.run = 0

    def member(self, Py_ssize_t floor):
        self.floor = floor
        self.inserted = max(self.inserted, floor)
        self.pending = -1

    cdef inline Py_ssize_t hash(self, Py_ssize_t at) except -1 nogil:
        cdef u32 value
        if self.hashing == 0:
            return (self.content[at] << 10 ^ self.content[at + 1] << 5 ^ self.content[at + 2]) & 0x7FFF
        value = (<u32> self.content[at] << 24 | <u32> self.content[at + 1] << 16 | <u32> self.content[at + 2] << 8
                 | self.content[at + 3])
        return <Py_ssize_t> ((value * <u32> 0x1E35A7BD) >> 15)

    cdef int insert(self, Py_ssize_t until) except -1 nogil:
        cdef Py_ssize_t at = self.inserted, last = min(until, self.content.shape[0] - 2 - self.hashing), slot
        cdef int[::1] head = self.head, previous = self.previous
        while at < last:
            slot = self.hash(at)
            previous[at & (WINDOW - 1)] = head[slot]
            head[slot] = <int> at
            at += 1
        if until > self.inserted:
            self.inserted = until
        return 0

    cdef int search(self, Py_ssize_t at, int best) except -1 nogil:
        """Find the longest match at `at` that is longer than `best`, the nearest of them."""
        cdef Py_ssize_t current, limit, following
        cdef const u8[::1] content = self.content
        cdef int[::1] previous = self.previous
        cdef int chain = self.chain, most = 258, nice = self.nice, length, near = self.near, shortest = self.shortest
        cdef long long left = self.left
        self.found_length = 0
        self.insert(at)
        if self.end - at < most:
            most = <int> (self.end - at)
        if most <= best or at + 3 + self.hashing > content.shape[0]:
            return 0
        if best >= self.good:
            chain >>= 2
        if most < nice:
            nice = most
        limit = at - self.farthest
        if limit < self.floor:
            limit = self.floor
        current = self.head[self.hash(at)]
        while current >= limit and chain > 0:
            if content[current + best] == content[at + best] and content[current] == content[at]:
                length = 1
                while length < most and content[current + length] == content[at + length]:
                    length += 1
                left -= length
                if length > best and (length > shortest or at - current <= near):
                    best = length
                    self.found_length = length
                    self.found_distance = <int> (at - current)
                    if length >= nice:
                        break
            chain -= 1
            left -= 1
            following = previous[current & (WINDOW - 1)]
            if following >= current:
                break
            current = following
        self.left = left
        if left < 0:
            with gil:
                raise BadResidual("it takes too long to find what its compressor chose")
        return 0

    cdef u32 predict(self, Py_ssize_t at) except? 0xFFFFFFFF nogil:
        """Return the token that the compressor would choose at `at`."""
        cdef int length, distance
        if self.pending == at:
            length = self.pending_length
            distance = self.pending_distance
        else:
            self.search(at, self.shortest - 1)
            length = self.found_length
            distance = self.found_distance
        if length < self.shortest:
            return self.content[at]
        if not self.greedy and length < self.lazy:
            self.search(at + 1, length)
            if self.found_length > length:
                self.pending = at + 1
                self.pending_length = self.found_length
                self.pending_distance = self.found_distance
                return self.content[at]
        return <u32> (length << 16 | (distance - 1))

    cdef int passed(self, Py_ssize_t at, int length) except -1 nogil:
        """Tell that the token of that length at `at` was chosen."""
        if self.greedy and length > self.lazy:
            self.insert(at + 1)
            self.inserted = at + length
        return 0

    cdef int put_run(self, int code) except -1 nogil:
        cdef Py_ssize_t run = self.run
        self.run = 0
        if run < 63:
            self.out[self.out_at] = <u8> (run << 2 | code)
            self.out_at += 1
            return 0
        self.out[self.out_at] = <u8> (63 << 2 | code)
        self.out_at += 1
        run -= 63
        while run >= 128:
            self.out[self.out_at] = <u8> (run & 127 | 128)
            self.out_at += 1
            run >>= 7
        self.out[self.out_at] = <u8> run
        self.out_at += 1
        return 0

    def correct(self, const u32[::1] tokens, Py_ssize_t first, Py_ssize_t last, Py_ssize_t at, Py_ssize_t end):
        """Return where content is after these tokens (at most 8192 at once), and the corrections that they need."""
        if first < 0 or last > tokens.shape[0] or last - first > 8192:
            raise ValueError("too many tokens at once")
        self.end = min(end, self.content.shape[0])
        self.out_at = 0
        with nogil:
            at = self._correct(tokens, first, last, at)
        return at, bytes(self.out[: self.out_at])

    cdef Py_ssize_t _correct(self, const u32[::1] tokens, Py_ssize_t first, Py_ssize_t last, Py_ssize_t at) except -1 nogil:
        cdef Py_ssize_t i
        cdef u32 token, predicted
        cdef int length
        for i in range(first, last):
            token = tokens[i]
            predicted = self.predict(at)
            length = 1 if token < 256 else <int> (token >> 16)
            if token == predicted:
                self.run += 1
            elif token < 256:
                self.put_run(0)
            else:
                if predicted >= 256 and (predicted & 0xFFFF) == (token & 0xFFFF):
                    self.put_run(1)
                else:
                    self.put_run(2)
                self.out[self.out_at] = <u8> (length - 3)
                self.out_at += 1
                if not (predicted >= 256 and (predicted & 0xFFFF) == (token & 0xFFFF)):
                    self.out[self.out_at] = <u8> (token & 0xFF)
                    self.out[self.out_at + 1] = <u8> (token >> 8 & 0xFF)
                    self.out_at += 2
            self.passed(at, length)
            at += length
        return at

    cdef int byte(self) except -1 nogil:
        if self.residual_at >= self.residual.shape[0]:
            with gil:
                raise BadResidual("the corrections end early")
        self.residual_at += 1
        return self.residual[self.residual_at - 1]

    cdef int _following(self) except -1 nogil:
        """Read the next correction, and how many tokens are right before it."""
        cdef int byte, shift = 0
        if self.residual_at >= self.residual.shape[0]:
            self.run = -1
            return 0
        byte = self.byte()
        self.code = byte & 3
        self.run = byte >> 2
        if self.run == 63:
            while True:
                byte = self.byte()
                self.run += <Py_ssize_t> (byte & 127) << shift
                shift += 7
                if byte < 128 or shift > 28:
                    break
        self.length = 1
        if self.code:
            self.length = self.byte() + 3
        if self.code > 1:
            self.distance = self.byte()
            self.distance |= self.byte() << 8
        return 0

    def restore(self, u32[::1] tokens, Py_ssize_t first, Py_ssize_t at, Py_ssize_t until, Py_ssize_t end):
        """Write the tokens of content[at:until]; return where they end."""
        if first < 0 or at < self.floor or until > self.content.shape[0]:
            raise ValueError("outside of the content")
        self.end = min(end, self.content.shape[0])
        with nogil:
            first = self._restore(tokens, first, at, until)
        return first

    cdef Py_ssize_t _restore(self, u32[::1] tokens, Py_ssize_t first, Py_ssize_t at, Py_ssize_t until) except -1 nogil:
        cdef u32 token
        cdef int length
        while at < until:
            token = self.predict(at)
            if self.run == 0:
                if self.code == 0:
                    token = self.content[at]
                elif self.code == 1:
                    if token < 256:
                        with gil:
                            raise BadResidual("a length for a literal")
                    token = <u32> self.length << 16 | token & 0xFFFF
                else:
                    token = <u32> self.length << 16 | <u32> self.distance
                self._following()
            elif self.run > 0:
                self.run -= 1
            length = 1 if token < 256 else <int> (token >> 16)
            if at + length > until:
                with gil:
                    raise BadResidual("a token is longer than its block")
            if first >= tokens.shape[0]:
                with gil:
                    raise BadResidual("too many tokens")
            tokens[first] = token
            first += 1
            self.passed(at, length)
            at += length
        return first


cdef class Huffman:
    """The header that a compressor writes for tokens, from how often each symbol occurs; see the .pyi."""

    cdef u32[::1] literals, distances, smalls      # how often
    cdef u8[::1] lengths, small_lengths
    cdef u64[::1] weight
    cdef int[::1] heap, parent, depth, packages
    cdef u64[::1] level, below
    cdef u8[::1] symbols
    cdef Py_ssize_t size
    cdef int heap_size

    def __init__(self):
        self.literals = _zeros("I", 288)
        self.distances = _zeros("I", 32)
        self.smalls = _zeros("I", 19)
        self.lengths = bytearray(CODES)
        self.small_lengths = bytearray(19)
        self.weight = _zeros("Q", 2 * 288)
        self.heap = _zeros("i", 2 * 288)
        self.parent = _zeros("i", 2 * 288)
        self.depth = _zeros("i", 2 * 288)
        self.level = _zeros("Q", 3 * 288)
        self.below = _zeros("Q", 3 * 288)
        self.packages = _zeros("i", 16 * 3 * 288)
        self.symbols = bytearray(2 * CODES)

    def header(self, const u32[::1] tokens, Py_ssize_t first, Py_ssize_t last, int style):
        """Return the header as Decoder.header does. style: 1 as zlib, 2 as Go's compress/flate."""
        cdef int literals = 286, distances = 30, smalls = 19, i
        if first < 0 or last > tokens.shape[0] or not 1 <= style <= 2:
            raise ValueError("outside of the tokens")
        with nogil:
            self.count(tokens, first, last)
            if style == 1:
                self.tree(self.literals, 286, 15, self.lengths, 0)
                self.tree(self.distances, 30, 15, self.lengths, LITERALS)
            else:
                self.packaged(self.literals, 286, 15, self.lengths, 0)
                if self.most(self.distances, 30) < 0:
                    self.distances[0] = 1
                self.packaged(self.distances, 30, 15, self.lengths, LITERALS)
            while literals > 257 and self.lengths[literals - 1] == 0:
                literals -= 1
            while distances > 1 and self.lengths[LITERALS + distances - 1] == 0:
                distances -= 1
            self.runs(literals, distances, style)
            if style == 1:
                self.tree(self.smalls, 19, 7, self.small_lengths, 0)
            else:
                self.packaged(self.smalls, 19, 7, self.small_lengths, 0)
            while smalls > 4 and self.small_lengths[ORDER[smalls - 1]] == 0:
                smalls -= 1
        made = bytearray((literals - 257, distances - 1, smalls - 4))
        for i in range(smalls):
            made.append(self.small_lengths[ORDER[i]])
        made += self.symbols[: self.size]
        return bytes(made)

    cdef int most(self, u32[::1] counts, int size) except -2 nogil:
        while size and counts[size - 1] == 0:
            size -= 1
        return size - 1

    cdef int count(self, const u32[::1] tokens, Py_ssize_t first, Py_ssize_t last) except -1 nogil:
        cdef Py_ssize_t i
        cdef u32 token
        cdef u32[::1] literals = self.literals, distances = self.distances
        for i in range(288):
            literals[i] = 0
        for i in range(32):
            distances[i] = 0
        for i in range(first, last):
            token = tokens[i]
            if token < 256:
                literals[token] += 1
            else:
                literals[257 + LENGTH_SYMBOL[token >> 16]] += 1
                distances[DISTANCE_SYMBOL[(token & 0x7FFF) + 1]] += 1
        literals[256] = 1
        return 0

    cdef inline bint before(self, int one, int other) except? True nogil:
        return self.weight[one] < self.weight[other] or (
            self.weight[one] == self.weight[other] and self.depth[one] <= self.depth[other])

    cdef int sift(self, int at) except -1 nogil:
        cdef int value = self.heap[at], child = at * 2
        while child <= self.heap_size:
            if child < self.heap_size and self.before(self.heap[child + 1], self.heap[child]):
                child += 1
            if self.before(value, self.heap[child]):
                break
            self.heap[at] = self.heap[child]
            at = child
            child *= 2
        self.heap[at] = value
        return 0

    cdef int tree(self, u32[::1] counts, int size, int longest, u8[::1] lengths, Py_ssize_t first) except -1 nogil:
        """Code lengths by Huffman's algorithm with a binary heap; equal counts: the shallower tree first."""
        cdef int i, node, one, two, last = -1, sorted_at = 2 * 288, root, overflow = 0, bits, left
        cdef int[16] number
        for bits in range(16):
            number[bits] = 0
        self.heap_size = 0
        for i in range(size):
            lengths[first + i] = 0
            self.weight[i] = counts[i]
            self.depth[i] = 0
            if counts[i]:
                self.heap_size += 1
                self.heap[self.heap_size] = i
                last = i
        while self.heap_size < 2:   # a code has two symbols at least
            node = 0
            if last < 2:
                last += 1
                node = last
            self.heap_size += 1
            self.heap[self.heap_size] = node
            self.weight[node] = 1
        for i in range(self.heap_size // 2, 0, -1):
            self.sift(i)
        node = size
        while self.heap_size >= 2:
            one = self.heap[1]
            self.heap[1] = self.heap[self.heap_size]
            self.heap_size -= 1
            self.sift(1)
            two = self.heap[1]
            self.weight[node] = self.weight[one] + self.weight[two]
            self.depth[node] = max(self.depth[one], self.depth[two]) + 1
            self.parent[one] = self.parent[two] = node
            sorted_at -= 2
            self.heap[sorted_at + 1] = one
            self.heap[sorted_at] = two
            self.heap[1] = node
            node += 1
            self.sift(1)
        root = self.heap[1]
        self.depth[root] = 0        # from here on: the distance from the root
        for i in range(sorted_at, 2 * 288):
            node = self.heap[i]
            bits = self.depth[self.parent[node]] + 1
            if bits > longest:
                bits = longest
                overflow += 1
            self.depth[node] = bits
            if node < size:
                number[bits & 15] += 1
                lengths[first + node] = <u8> bits
        if overflow == 0:
            return 0
        while overflow > 0:
            bits = longest - 1
            while bits > 0 and number[bits & 15] == 0:
                bits -= 1
            number[bits & 15] -= 1
            number[(bits + 1) & 15] += 2
            number[longest & 15] -= 1
            overflow -= 2
        i = 2 * 288
        for bits in range(longest, 0, -1):
            left = number[bits & 15]
            while left > 0 and i > sorted_at:
                i -= 1
                if self.heap[i] < size:
                    lengths[first + self.heap[i]] = <u8> bits
                    left -= 1
        return 0

    cdef int packaged(self, u32[::1] counts, int size, int longest, u8[::1] lengths, Py_ssize_t first) except -1 nogil:
        """Code lengths by package-merge; of equal weights packages go first, and symbols in their order."""
        cdef int used = 0, i, j, at, bits, leaf, package, total, total_below = 0, wanted
        for i in range(size):
            lengths[first + i] = 0
            if counts[i]:
                # Sorted by insertion: counts are few, and the rarest come first.
                j = used
                while j > 0 and self.weight[j - 1] > counts[i]:
                    self.weight[j] = self.weight[j - 1]
                    self.heap[j] = self.heap[j - 1]
                    j -= 1
                self.weight[j] = counts[i]
                self.heap[j] = i
                used += 1
        if used <= 2:
            for i in range(used):
                lengths[first + self.heap[i]] = 1
            return 0
        if longest > used - 1:
            longest = used - 1
        for bits in range(longest):
            leaf = package = total = 0
            while total < 2 * used - 2 and (leaf < used or package + 1 < total_below):
                # packages[...]: how many symbols are among the first items of this level
                if leaf < used and (package + 1 >= total_below
                                    or self.weight[leaf] < self.below[package] + self.below[package + 1]):
                    self.level[total] = self.weight[leaf]
                    leaf += 1
                else:
                    self.level[total] = self.below[package] + self.below[package + 1]
                    package += 2
                total += 1
                self.packages[bits * 3 * 288 + total] = leaf
            for i in range(total):
                self.below[i] = self.level[i]
            total_below = total
        wanted = 2 * used - 2
        for bits in range(longest - 1, -1, -1):
            leaf = self.packages[bits * 3 * 288 + wanted]
            for i in range(leaf):
                lengths[first + self.heap[i]] += 1
            wanted = 2 * (wanted - leaf)
            if wanted == 0:
                break
        return 0

    cdef int put(self, int symbol, int extra) except -1 nogil:
        self.symbols[self.size] = <u8> symbol
        self.size += 1
        self.smalls[symbol] += 1
        if symbol > 15:
            self.symbols[self.size] = <u8> extra
            self.size += 1
        return 0

    cdef int runs(self, int literals, int distances, int style) except -1 nogil:
        """Write the code lengths as symbols; zlib ends a run with the literals, Go does not."""
        cdef int i
        self.size = 0
        for i in range(19):
            self.smalls[i] = 0
        if style == 1:
            self.zlib_runs(0, literals)
            self.zlib_runs(LITERALS, distances)
        else:
            for i in range(distances):
                self.lengths[literals + i] = self.lengths[LITERALS + i]
            self.go_runs(literals + distances)
        return 0

    cdef int zlib_runs(self, Py_ssize_t first, int count) except -1 nogil:
        cdef int i = 0, length, run, most, before = -1
        while i < count:
            length = self.lengths[first + i]
            most = 138 if length == 0 else 6 if length == before else 7
            run = 1
            while run < most and i + run < count and self.lengths[first + i + run] == length:
                run += 1
            i += run
            if length == 0:
                if run > 10:
                    self.put(18, run)
                    run = 0
                elif run > 2:
                    self.put(17, run)
                    run = 0
            elif run >= (3 if length == before else 4):
                if length != before:
                    self.put(length, 0)
                    run -= 1
                self.put(16, run)
                run = 0
            while run:
                self.put(length, 0)
                run -= 1
            before = length
        return 0

    cdef int go_runs(self, int count) except -1 nogil:
        cdef int i = 0, length, run, part
        while i < count:
            length = self.lengths[i]
            run = 1
            while i + run < count and self.lengths[i + run] == length:
                run += 1
            i += run
            if length:
                self.put(length, 0)
                run -= 1
                while run >= 3:
                    part = min(run, 6)
                    self.put(16, part)
                    run -= part
            else:
                while run >= 11:
                    part = min(run, 138)
                    self.put(18, part)
                    run -= part
                if run >= 3:
                    self.put(17, run)
                    run = 0
            while run:
                self.put(length, 0)
                run -= 1
        return 0


cdef class Fingerprints:
    """Which chunk of the old content has most of what is in a piece of the new; see the .pyi."""

    cdef u64[::1] gear
    cdef u32[::1] keys, chunks, votes
    cdef u64 mask
    cdef Py_ssize_t used
    cdef readonly Py_ssize_t count

    def __init__(self, int rate_bits, int size_bits):
        cdef u64 value, state = 0x6D6972726F72
        cdef Py_ssize_t i
        self.gear = _zeros("Q", 256)
        for i in range(256):
            state += <u64> 0x9E3779B97F4A7C15
            value = state
            value = (value ^ (value >> 30)) * <u64> 0xBF58476D1CE4E5B9
            value = (value ^ (value >> 27)) * <u64> 0x94D049BB133111EB
            self.gear[i] = value ^ (value >> 31)
        self.mask = ((<u64> 1 << rate_bits) - 1) << (32 - rate_bits)  # bits that the last 32 bytes decide
        self.keys = _zeros("I", 1 << size_bits)
        self.chunks = _zeros("I", 1 << size_bits)
        self.votes = _zeros("I", 1)
        self.used = 0
        self.count = 0

    cdef Py_ssize_t slot(self, u32 key) except -2 nogil:
        """Return where a key is or could be added; -1 if that takes long: content can be made that has only such keys."""
        cdef Py_ssize_t size = self.keys.shape[0], at, tried
        at = <Py_ssize_t> ((<u64> key * <u64> 0x9E3779B97F4A7C15) >> 32) & (size - 1)
        for tried in range(64):
            if self.keys[at] == 0 or self.keys[at] == key:
                return at
            at = (at + 1) & (size - 1)
        return -1

    cdef int walk(self, const u8[::1] content, Py_ssize_t first, Py_ssize_t last, bint adding, u32 chunk) except -1 nogil:
        cdef u64 rolling = 0, mask = self.mask
        cdef u64[::1] gear = self.gear
        cdef Py_ssize_t i, at
        cdef u32 key, before = 0
        for i in range(first, last):
            rolling = (rolling << 1) + gear[content[i]]
            if rolling & mask:
                continue
            key = <u32> rolling | 1
            if key == before:
                continue
            before = key
            at = self.slot(key)
            if at < 0:
                continue
            if not adding:
                if self.keys[at] and self.chunks[at] < self.votes.shape[0]:
                    self.votes[self.chunks[at]] += 1
            elif self.keys[at] == 0 and self.used * 2 < self.keys.shape[0]:
                self.keys[at] = key
                self.chunks[at] = chunk
                self.used += 1
        return 0

    def add(self, const u8[::1] content, Py_ssize_t first, Py_ssize_t last):
        """Add the next chunk."""
        with nogil:
            self.walk(content, first, last, True, <u32> self.count)
        self.count += 1

    def vote(self, const u8[::1] content, Py_ssize_t first, Py_ssize_t last):
        """Return for each chunk how many of its fingerprints the content has."""
        self.votes = _zeros("I", max(self.count, 1))
        with nogil:
            self.walk(content, first, last, False, 0)
        return list(self.votes[: self.count])
