"""What is told of an error that was raised in somebody's own code, and in a library."""

import json

import numpy as np
import pytest

from bnnbench.errors import told


def raised(function) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any will do
        function()
    return told(caught.value)


def test_the_last_line_of_own_code_is_named():
    def mine():
        return np.linalg.inv(np.zeros((2, 2)))

    line = mine.__code__.co_firstlineno + 1
    assert raised(mine) == f"LinAlgError: Singular matrix (line {line} of test_errors.py, in mine)"


def test_an_error_without_own_code_has_no_place():
    error = None
    try:
        json.loads("[")
    except ValueError as caught:
        error = caught.with_traceback(caught.__traceback__.tb_next)  # without this function
    assert told(error) == "JSONDecodeError: Expecting value: line 1 column 2 (char 1)"
