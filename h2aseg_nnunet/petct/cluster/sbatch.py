"""The text of `--slurm`: options of sbatch, as on its command line."""

import re
import shlex
from typing import Any

from h2aseg_nnunet.errors import UserError

LONG = {
    **{"-A": "account", "-C": "constraint", "-c": "cpus-per-task", "-G": "gpus", "-N": "nodes", "-p": "partition"},
    **{"-q": "qos", "-t": "time", "-w": "nodelist", "-x": "exclude", "-M": "clusters"},
}
OURS = ("array", "error", "job-name", "ntasks", "ntasks-per-node", "output", "requeue", "signal", "wait", "wrap")
"""Options that belong to what a job is, which is not the user's to say."""

TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")


def parse_sbatch(text: str) -> dict[str, Any]:
    """Return sbatch's options by their long names; those without a value are True.

    Raises:
        UserError: If the text is not a list of options, --time is missing, or an option is not the user's to say.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--slurm {text!r}: {error}.") from error
    options: dict[str, Any] = {}
    for position, word in enumerate(words):
        if not word.startswith("-"):
            if not position or not words[position - 1].startswith("-") or "=" in words[position - 1]:
                raise UserError(f"--slurm: {word} is no option of sbatch; expected is for instance --partition gpu.")
            continue
        name, has_value, value = word.partition("=")
        following = words[position + 1] if position + 1 < len(words) else "-"
        options[_long(name)] = value if has_value else (True if following.startswith("-") else following)
    if own := sorted(options.keys() & set(OURS)):
        raise UserError(f"--slurm: leave --{own[0]} out; h2aseg sets it.")
    if "time" not in options:
        raise UserError(
            "--slurm: say how long a job may take, for instance --time 24:00:00; one that takes longer is queued again "
            "and goes on."
        )
    return options


def minutes(time: Any) -> int:
    """Return sbatch's --time in minutes: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Raises:
        UserError: If it is something else.
    """
    match = TIME.fullmatch(str(time))
    if match is None:
        raise UserError(f"--slurm: --time {time} is no time; expected is for instance 24:00:00 or 2-12:00.")
    parts = [int(part) for part in match.group("first", "second", "third") if part is not None]
    if match["days"] is not None:
        hours, mins, secs = (*parts, 0, 0)[:3]
        total = int(match["days"]) * 1440 + hours * 60 + mins + secs / 60
    elif len(parts) == 3:
        total = parts[0] * 60 + parts[1] + parts[2] / 60
    else:
        total = parts[0] + (parts[1] / 60 if len(parts) > 1 else 0)
    return max(1, int(total))


def _long(name: str) -> str:
    if name.startswith("--"):
        return name.removeprefix("--")
    if name not in LONG:
        raise UserError(f"--slurm: {name} is not known; write it as sbatch's long option, --partition for instance.")
    return LONG[name]
