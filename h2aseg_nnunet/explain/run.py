"""From a model and cases to maps on each case's grid, figures and numbers. Read this first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy.special import expit
from SimpleITK import GetArrayFromImage

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.explain.attention import Reading, read_voxel
from h2aseg_nnunet.explain.case import CasePrediction, ExplainedCase, default_voxel, given_voxel
from h2aseg_nnunet.explain.figures import Album, AxialSlice, draw_figures
from h2aseg_nnunet.explain.maps import Maps, predict_maps
from h2aseg_nnunet.explain.model import Model
from h2aseg_nnunet.explain.record import RECORD, explanation_folder, lines, make_record, replacing_folder
from h2aseg_nnunet.network.decoder import tumor_probability
from h2aseg_nnunet.petct.cases import find_cases
from h2aseg_nnunet.petct.files import write_json
from h2aseg_nnunet.petct.images.orientation import like
from h2aseg_nnunet.petct.perturb import without


class ExplanationSettings(NamedTuple):
    """What to explain and how to show it.

    Attributes:
        voxel_xyz, point_mm: The voxel whose attention is shown, at most one of them; default: `default_voxel`.
        previous_stage: Folder of segmentations by the previous stage of a cascade.
        max_suv: SUV that is black in the figures' PET.
    """

    voxel_xyz: Sequence[int] | None = None
    point_mm: Sequence[float] | None = None
    previous_stage: str | Path | None = None
    max_suv: float = 10.0


DEFAULTS = ExplanationSettings()


def explain_cases(
    model: Model,
    given: str | Path,
    output: str | Path,
    settings: ExplanationSettings = DEFAULTS,
    keep_finished: bool = False,
) -> list[Path]:
    """Explain a case, or every case of a folder; each gets a folder of its own in `output`.

    Args:
        model: The model, from `load_model`.
        given: A case or a folder of cases, as `find_cases` takes it.
        output: Folder for the explanations; those of an earlier run are replaced.
        settings: What to explain and how to show it, the same for all cases.
        keep_finished: Whether to leave explanations as they are and do what is missing.

    Returns:
        The folders of the cases.

    Raises:
        UserError: If something does not fit; the message says what.
    """
    dataset = model.predictor.dataset_json
    cases = find_cases(Path(given), len(dataset["channel_names"]), dataset["file_ending"])
    if len(cases) > 1 and (settings.voxel_xyz is not None or settings.point_mm is not None):
        raise UserError(f"{given} holds {len(cases)} cases: --voxel and --point go with one, e.g. {cases[0].name}.")
    folders = [Path(output) / files.name for files in cases]
    for files, folder in zip(cases, folders, strict=True):
        if keep_finished and explanation_folder(folder).settings() is not None:
            print(f"{files.name}: explained before", flush=True)
            continue
        print(f"{files.name}: fold {model.fold} of {model.folder.name}", flush=True)
        with replacing_folder(folder) as partial:
            explain_case(ExplainedCase(model, files, settings.previous_stage), partial, settings)
    return folders


def explain_case(case: ExplainedCase, folder: Path, settings: ExplanationSettings = DEFAULTS) -> dict[str, Any]:
    """Write the maps, figures and explanation.json of one case; return what is in the latter.

    Raises:
        UserError: If the chosen voxel does not lie in the image.
    """
    voxel = given_voxel(case.images[0], settings.voxel_xyz, settings.point_mm)
    if voxel is not None:
        case.grid.to_preprocessed(voxel.index_xyz, case.data.shape[1:])  # complains before the long work
    print("    prediction, stages and weighting", flush=True)
    maps = predict_maps(case.model, case.data)
    prediction = case.export(maps.logits)
    voxel = voxel or default_voxel(case.images[0], prediction, case.grid.inside)
    readings = _read(case, maps, voxel.index_xyz)
    replaced = {}
    for modality, channels in case.model.modality_channels.items():
        print(f"    prediction without {modality}", flush=True)
        replaced[modality] = case.predict(without(case.data, channels))

    album = Album(folder, AxialSlice.through(voxel, case.images[0]))
    _add_maps(album, case, maps, prediction)
    for reading in readings:
        album.add(f"attention/{reading.attention.name}", case.grid.from_preprocessed(reading.volume))
    for modality, other in replaced.items():
        change = like(prediction.probabilities - other.probabilities, case.images[0])
        album.add(f"attribution/{modality}", change)
    record = make_record(case, maps.gains, prediction, replaced, voxel, readings)
    draw_figures(case, album, record, settings.max_suv)
    write_json(folder / RECORD, record)
    print("\n".join(f"    {line}" for line in lines(record, maps.gains)), flush=True)
    return record


def _read(case: ExplainedCase, maps: Maps, index_xyz: Sequence[int]) -> list[Reading]:
    regions = case.model.network.decoder.seg_layers.has_regions
    probability = tumor_probability(maps.logits[None].float(), maps.logits.shape[1:], regions)[0, 0]
    voxel = case.grid.to_preprocessed(index_xyz, case.data.shape[1:])
    return read_voxel(case.model, case.data, probability > 0.5, voxel)


def _add_maps(album: Album, case: ExplainedCase, maps: Maps, prediction: CasePrediction) -> None:
    """Add the prediction, the tumor probability of every stage, and TAMW's scales."""
    album.add("prediction", prediction.labels, labels=True)
    album.add("probability/stage1", prediction.probability)
    for stage, log_odds in maps.log_odds.items():
        image = case.grid.from_preprocessed(log_odds, outside=-float("inf"))
        album.add(f"probability/stage{stage}", like(expit(GetArrayFromImage(image)), image))
    for (stage, modality), scale in maps.scales.items():
        album.add(f"tamw/stage{stage}_{modality}", case.grid.from_preprocessed(scale, outside=1), outside=1)
