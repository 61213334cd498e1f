"""One case of a challenge: whatever happens, there is exactly one valid mask."""

import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.challenge.budget import Budget, Choice
from h2aseg_nnunet.petct.challenge.files import empty_mask, find_case, grid_of_mask, mask_file, write_mask
from h2aseg_nnunet.petct.challenge.interfaces import INTERFACES
from h2aseg_nnunet.petct.challenge.predict import Prediction, predict_case
from h2aseg_nnunet.petct.files import write_json


class Outcome(NamedTuple):
    """What became of a case.

    Attributes:
        mask: File of the mask.
        choice: What the mask was made with; None if it is the empty one.
        problem: Why it is the empty one.
    """

    mask: Path
    choice: Choice | None
    problem: str = ""


def run_case(
    challenge: str,
    given: Path,
    output: Path,
    prediction: Prediction,
    time_limit: float | None = None,
    started: float | None = None,
) -> Outcome:
    """Segment a case as a challenge wants it. An empty mask is there from the first second on, and after a failure.

    Args:
        challenge: One of `CHALLENGES`.
        given: The folder that grand-challenge calls /input.
        output: The folder that it calls /output.
        prediction: How to predict.
        time_limit: Seconds from `started` within which the mask must be there; None for no limit.
        started: When the time began, by `time.monotonic`.

    Raises:
        UserError: If nothing can be written to `output`.
    """
    began = time.monotonic() if started is None else started
    interface = INTERFACES[challenge]
    case = find_case(given)
    grid, file = grid_of_mask(case, interface), mask_file(output, interface, case)
    write_mask(empty_mask(grid), grid, file)
    for name, content in interface.others.items():
        write_json(output / name, content)
    try:
        mask, choice = predict_case(case, interface, prediction, Budget(time_limit, began))
        write_mask(mask, grid, file)
    except UserError as error:
        return Outcome(file, None, str(error))
    except Exception as error:  # a failed job costs a team its whole submission
        traceback.print_exc(file=sys.stderr)
        return Outcome(file, None, f"{type(error).__name__}: {error}")
    return Outcome(file, choice)
