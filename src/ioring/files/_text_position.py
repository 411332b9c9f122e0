"""Positions in text files as numbers, as ``io.TextIOWrapper`` has them.

Characters are not all of one size, and a decoder may hold bytes back. So a position is a place in the file at which the
decoder holds nothing back, and what the decoder has to be given from there to come to the character.
"""


def pack(place, flags, fed, count, end):
    """A position as one number: the place in the file, the decoder's state there, the bytes to give it from there and
    whether the file ends behind them, and how many of their characters come before."""
    return place | flags << 64 | fed << 128 | count << 192 | end << 256


def unpack(cookie):
    """The parts of such a number: place, flags, fed, count, end."""
    mask = (1 << 64) - 1
    return cookie & mask, cookie >> 64 & mask, cookie >> 128 & mask, cookie >> 192 & mask, bool(cookie >> 256)


def place_behind(decoder, place, flags, data, count, characters_all):
    """The position behind ``count`` characters of bytes that begin at a place, with the decoder in a state there.

    All of the bytes are ``characters_all`` characters. The position is the last place before the character where the
    decoder holds nothing back. The decoder's state afterwards is any.
    """
    # Somewhere near, at first: by the average size of a character.
    near = len(data) * count // max(characters_all, 1)
    back = 1
    skipped = 0
    while near > 0:
        decoder.setstate((b"", flags))
        characters = len(decoder.decode(data[:near]))
        if characters <= count:
            held, now = decoder.getstate()
            if not held:
                skipped, flags, count = near, now, count - characters
                break
            near -= len(held)
            back = 1
        else:
            near -= back
            back *= 2
    if skipped == 0:
        decoder.setstate((b"", flags))
    place += skipped
    if count == 0:
        return pack(place, flags, 0, 0, False)
    # From there byte by byte.
    fed = characters = 0
    for at in range(skipped, len(data)):
        fed += 1
        characters += len(decoder.decode(data[at : at + 1]))
        held, now = decoder.getstate()
        if not held and characters <= count:
            place, flags, count = place + fed, now, count - characters
            fed = characters = 0
        if characters >= count:
            return pack(place, flags, fed, count, False)
    characters += len(decoder.decode(b"", True))
    if characters < count:
        raise OSError("can't reconstruct logical file position")
    return pack(place, flags, fed, count, True)
