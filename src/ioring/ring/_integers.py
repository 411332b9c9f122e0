"""Checks of the numbers that a program gives as arguments."""

import operator

import cython


def integer(value, name, low, high):
    """``value`` as an int within bounds, or an error that names the argument.

    Compared as a C number: a subclass of int may say of itself what it likes.
    """
    number: cython.longlong
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}") from None
    if number < low or number > high:
        raise ValueError(f"{name} must be between {low} and {high}, not {number}")
    return number


def unsigned64(value, name):
    """``value`` as an int of 0 to 2**64 - 1, or an error that names the argument."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    if not 0 <= number <= 0xFFFFFFFFFFFFFFFF:
        raise ValueError(f"{name} must be between 0 and 18446744073709551615, not {number}")
    return number
