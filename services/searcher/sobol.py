"""Sobol's quasi-random points: they fill a space more evenly than random ones, however many there are of them.

Theory: I. M. Sobol', On the distribution of points in a cube and the approximate evaluation of integrals, 1967; the
direction numbers are those of S. Joe, F. Y. Kuo, Constructing Sobol sequences with better two-dimensional projections,
2008. Each axis is shifted digitally (exclusive or) by a number drawn from the seed. Axes beyond MAX_AXES are drawn at
random.
"""

from functools import cache

from services.searcher.space import generator

BITS = 32

#: For each axis after the first, its primitive polynomial's coefficients as bits, and its first direction numbers.
_DIRECTIONS = """
3:1 7:1,3 11:1,3,1 13:1,1,1 19:1,1,3,3 25:1,3,5,13 37:1,1,5,5,17 41:1,1,5,5,5 47:1,1,7,11,19 55:1,1,5,1,1
59:1,1,1,3,11 61:1,3,5,5,31 67:1,3,3,9,7,49 91:1,1,1,15,21,21 97:1,3,1,13,27,49 103:1,1,1,15,7,5
109:1,3,1,15,13,25 115:1,1,5,5,19,61 131:1,3,7,11,23,15,103 137:1,3,7,13,13,15,69 143:1,1,3,13,7,35,63
145:1,3,5,9,1,25,53 157:1,3,1,13,9,35,107 167:1,3,1,5,27,61,31 171:1,1,5,11,19,41,61 185:1,3,5,3,3,13,69
191:1,1,7,13,1,19,1 193:1,3,7,5,13,19,59 203:1,1,3,9,25,29,41 211:1,3,5,13,23,1,55 213:1,3,7,3,13,59,17
229:1,3,1,3,5,53,69 239:1,1,5,5,23,33,13 241:1,1,7,7,1,61,123 247:1,1,7,9,13,61,49 253:1,3,3,5,3,55,33
285:1,3,1,15,31,13,49,245 299:1,3,5,15,31,59,63,97 301:1,3,1,11,11,11,77,249 333:1,3,1,11,27,43,71,9
351:1,1,7,15,21,11,81,45 355:1,3,7,3,25,31,65,79 357:1,3,1,1,19,11,3,205 361:1,1,5,9,19,21,29,157
369:1,3,7,11,1,33,89,185 391:1,3,3,3,15,9,79,71 397:1,3,7,11,15,39,119,27 425:1,1,3,1,11,31,97,225
451:1,1,1,3,23,43,57,177 463:1,3,7,7,17,17,37,71 487:1,3,1,5,27,63,123,213 501:1,1,3,5,11,43,53,133
529:1,3,5,5,29,17,47,173,479 539:1,3,3,11,3,1,109,9,69 545:1,1,1,5,17,39,23,5,343 557:1,3,1,5,25,15,31,103,499
563:1,1,1,11,11,17,63,105,183 601:1,1,5,11,9,29,97,231,363 607:1,1,5,15,19,45,41,7,383
617:1,3,7,7,31,19,83,137,221 623:1,1,1,3,23,15,111,223,83 631:1,1,5,13,31,15,55,25,161
637:1,1,3,13,25,47,39,87,257 647:1,1,1,11,21,53,125,249,293
"""

MAX_AXES = 1 + len(_DIRECTIONS.split())


def sobol(seed: int, index: int, num_axes: int) -> list[float]:
    """Return point `index`, counted from 1, of the sequence: a place in [0, 1) for each axis."""
    gray = (index - 1) ^ ((index - 1) >> 1)
    shifts, beyond = generator(seed, "sobol"), generator(seed, "beyond sobol", index)
    places = []
    for axis in range(num_axes):
        digits = shifts.getrandbits(BITS)
        for bit in range(gray.bit_length() if axis < MAX_AXES else 0):
            if gray >> bit & 1:
                digits ^= _directions(axis)[bit]
        places.append(digits / 2**BITS if axis < MAX_AXES else beyond.random())
    return places


@cache
def _directions(axis: int) -> tuple[int, ...]:
    """Return the direction numbers of an axis, counted from 0, as BITS binary digits each."""
    if axis == 0:
        return tuple(1 << (BITS - 1 - bit) for bit in range(BITS))
    polynomial, numbers = _DIRECTIONS.split()[axis - 1].split(":")
    coefficients, found = int(polynomial), [int(number) for number in numbers.split(",")]
    degree = len(found)
    for bit in range(degree, BITS):
        following = found[bit - degree] ^ (found[bit - degree] << degree)
        for back in range(1, degree):
            if coefficients >> (degree - back) & 1:
                following ^= found[bit - back] << back
        found.append(following)
    return tuple(number << (BITS - 1 - bit) for bit, number in enumerate(found))
