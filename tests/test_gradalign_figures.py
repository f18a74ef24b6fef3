"""GradAlign's figures and landscapes: lemmas in closed form, and points that go with records."""

import base64
import io
import math

import numpy as np
import pytest
from drawn import left, read, trained
from PIL import Image

from bench.runs.record import TRACES
from report.paper_figures import (
    gradalign_accuracy,
    gradalign_curves,
    gradalign_filters,
    gradalign_lemma1,
    gradalign_lemma2,
    gradalign_radii,
    input_landscape,
    weight_landscape,
    weight_landscape_2d,
)


def lines(picture):
    head, *rest = picture.csv.splitlines()
    return head, rest


# Lemmas


@pytest.mark.parametrize(("step", "length"), [(0.5, 5.29), (1.0, 6.53), (1.25, 7.11), (2.0, 8.0)])
def test_the_step_of_fgsm_rs_is_as_long_as_the_lemma_says(step, length):
    scale = 255 / math.sqrt(3072)
    assert scale * gradalign_lemma1.bound(step) == pytest.approx(length, abs=0.005)
    (mean,) = gradalign_lemma1.means([step])
    assert scale * mean == pytest.approx(length, abs=0.01)


def test_without_a_step_the_length_is_that_of_the_start():
    assert gradalign_lemma1.bound(0) == pytest.approx(8 / 255 * math.sqrt(3072 / 3))


def test_alignment_at_random_weights_is_1_without_noise_and_above_its_bound_with_any():
    radii = [0, 4, 16]
    bounds, few, many = (
        gradalign_lemma2.bounds(radii),
        gradalign_lemma2.alignments(radii, 4),
        gradalign_lemma2.alignments(radii, 100),
    )
    assert bounds[0] == few[0] == pytest.approx(1)
    assert many[0] == pytest.approx(1)
    assert all(b <= value for b, value in zip(bounds, many, strict=True))
    assert 0.5 <= bounds[2] < bounds[1] < 1


def test_alignment_is_1_less_the_angle_over_pi_with_many_filters():
    """The share of half-planes through 0 that do not part z and z + noise."""
    k = 32
    generator = np.random.default_rng(gradalign_lemma2.SEED)
    z = generator.uniform(0, 1, (1000, 27))
    moved = z + k / 255 * generator.uniform(-1, 1, (1000, 27))
    cosine = (z * moved).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(moved, axis=1)
    expected = 1 - (np.arccos(cosine) / np.pi).mean()
    (found,) = gradalign_lemma2.alignments([k], 100)
    assert found == pytest.approx(expected, abs=0.01)


def test_pictures_of_lemmas_say_how_many_draws_and_read_no_record():
    for figure in (gradalign_lemma1, gradalign_lemma2):
        (picture,) = figure.draw([])
        head, rest = lines(picture)
        assert head.endswith("draws,seed of the draws,records")
        assert all(line.endswith(",1000,0,") for line in rest)


# Pictures of records


def remove(root, config, stage):
    (root / "runs" / config.folder / f"{stage}.json").unlink()


def test_a_landscape_says_where_it_stands_and_goes_with_its_record(tmp_path):
    config = trained(tmp_path)
    grid = np.ones((4, 3, 3), np.float32) * np.arange(1, 4, dtype=np.float32)[None, :, None]
    stages = {"landscape-at_10": "before the onset", "landscape-at_15": "at the onset",
              "landscape": "at the onset"}  # fmt: skip
    classes = np.zeros((4, 3, 3), np.int16)
    classes[0, 2] = 7
    for stage in stages:
        left(tmp_path, config, stage, {"loss": grid, "class": classes}, roughness=0.25)
    left(tmp_path, config, "landscape-second_random", {"loss": grid}, roughness=0.25)
    pgd, same, *random = input_landscape.draw(read(tmp_path))
    assert (pgd.name, same.name) == ("input_landscape-fgsm_pgd", "input_landscape-class-fgsm_pgd")
    assert [one.name for one in random] == [
        "input_landscape-fgsm_random", "input_landscape-class-fgsm_random",
    ]  # fmt: skip
    assert {tuple(line.split(",")[i] for i in (4, 6)) for line in lines(same)[1]} == {
        ("0.0", "100.0"), ("0.5", "100.0"), ("1.0", "75.0"),
    }  # fmt: skip
    head, rest = lines(pgd)
    assert head == ("method,seed,update,stage,in steps of FGSM,in moves of PGD-10,"
                    "mean cross-entropy,roughness,images,records")  # fmt: skip
    assert len(rest) == 3 * 9
    for stage, words in stages.items():
        own = [line for line in rest if line.endswith(f"/{stage}.json")]
        assert len(own) == 9
        assert all(f",{words}," in line for line in own)
        assert {line.split(",")[6] for line in own if line.split(",")[4] == "0.5"} == {"2.0"}
    assert pgd.spec["title"]["text"] == "Of runs that collapsed: before, at the onset"
    remove(tmp_path, config, "landscape-at_15")
    remove(tmp_path, config, "landscape")
    pgd, *_ = input_landscape.draw(read(tmp_path))
    assert len(lines(pgd)[1]) == 9
    assert pgd.spec["title"]["text"] == "Of runs that collapsed: before the onset"


def test_a_landscape_after_another_direction_or_without_its_file_is_left_out(tmp_path):
    config = trained(tmp_path)
    grid = {"loss": np.ones((4, 3, 3), np.float32)}
    left(tmp_path, config, "landscape-first_random", grid, roughness=0.25)
    left(tmp_path, config, "landscape", grid, roughness=0.25)
    path = tmp_path / "runs" / config.folder / "landscape.safetensors"
    assert len([*input_landscape.draw(read(tmp_path))]) == 2
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x07")
    with pytest.raises(ValueError, match=r"landscape.safetensors is damaged or of another run"):
        list(input_landscape.draw(read(tmp_path)))
    path.unlink()
    assert [*input_landscape.draw(read(tmp_path))] == []


def test_of_two_landscapes_of_one_network_the_finer_is_drawn(tmp_path):
    config = trained(tmp_path)
    for stage in ("landscape-points_99", "landscape", "landscape-points_5"):
        left(tmp_path, config, stage, {"loss": np.ones((4, 3, 3), np.float32)}, roughness=0.25)
    for finest in ("landscape-points_99", "landscape"):
        pgd, _ = input_landscape.draw(read(tmp_path))
        assert {line.split("/")[-1] for line in lines(pgd)[1]} == {f"{finest}.json"}
        remove(tmp_path, config, finest)


def test_weight_landscapes_are_lines_and_planes(tmp_path):
    config = trained(tmp_path)
    line = np.float32([[3, 1, 2], [5, 1, 2]])
    left(tmp_path, config, "weight_landscape", {"loss": line}, adversarial_loss=1.0)
    left(tmp_path, config, "weight_landscape-dims_2", {"loss": line[:, None, :] * line[:, :, None]},
         adversarial_loss=1.0)  # fmt: skip
    (picture,) = weight_landscape.draw(read(tmp_path))
    _, rest = lines(picture)
    places = [tuple(map(float, line.split(",")[2:4])) for line in rest]
    assert places == [(-1, 4), (0, 1), (1, 2)]
    (plane,) = weight_landscape_2d.draw(read(tmp_path))
    assert len(lines(plane)[1]) == 9
    remove(tmp_path, config, "weight_landscape")
    assert [*weight_landscape.draw(read(tmp_path))] == []


def test_accuracy_over_radii_needs_two_and_names_each_record(tmp_path):
    for eps in ("51/255", "77/255"):
        for seed in (0, 1):
            config = trained(tmp_path, eps=eps, seed=seed, onset=None)
            for stage in ("pgd50_10", "pgd50_10-weights_best"):
                left(tmp_path, config, stage, scores={stage.replace("-", " "): 30.0 + seed})
    (picture,) = gradalign_accuracy.draw(read(tmp_path))
    _, rest = lines(picture)
    assert len(rest) == 2 * 2 * 3
    remove(tmp_path, config, "pgd50_10")
    (picture,) = gradalign_accuracy.draw(read(tmp_path))
    assert len(lines(picture)[1]) == 11
    one = [run for run in read(tmp_path) if run.config.eps == "51/255"]
    assert [*gradalign_accuracy.draw(one)] == []


def test_radii_are_of_fgsm_with_its_own_step(tmp_path):
    swept = {"fgsm 0/255": 90.0, "fgsm 51/255": 50.0, "pgd10 0/255": 90.0, "pgd10 51/255": 10.0}
    for eps in ("51/255", "77/255"):
        left(tmp_path, trained(tmp_path, eps=eps), "eps_sweep", scores=swept)
    left(tmp_path, trained(tmp_path, settings={"alpha": 0.5}), "eps_sweep", scores=swept)
    left(tmp_path, trained(tmp_path, method="pgd2", settings={}), "eps_sweep", scores=swept)
    (picture,) = gradalign_radii.draw(read(tmp_path))
    _, rest = lines(picture)
    assert len(rest) == 2 * 4
    assert sum(line.startswith("PGD-10,trained at 77/255,0,51,10.0,40,") for line in rest) == 1


def test_curves_have_accuracies_by_epoch_and_cosines_by_update(tmp_path):
    traces = {f"watch.{name}{end}": values
              for name in ("gradient_alignment", "cos_fgsm_pgd")
              for end, values in (("", [0.9, 0.5, 0.1]), (".update", [0, 10, 20]))}  # fmt: skip
    config = trained(tmp_path, traces=traces)
    trained(tmp_path, method="pgd10", settings={})
    (picture,) = gradalign_curves.draw(read(tmp_path))
    _, rest = lines(picture)
    assert len(rest) == 2 * 3 + 3 * 2
    assert any(line.startswith("clean,FGSM,0,10,90.0,10,") for line in rest)
    assert any(line.startswith("gradient alignment,FGSM,0,20,0.1,10,") for line in rest)
    assert all(f"{config.folder}/train.json" in line for line in rest)
    assert [len(row["hconcat"]) for row in picture.spec["vconcat"]] == [3, 2]
    (tmp_path / "runs" / config.folder / TRACES).unlink()
    assert [*gradalign_curves.draw(read(tmp_path))] == []


def test_means_of_curves_are_of_all_seeds_or_not_drawn(tmp_path):
    for seed, updates in ((0, [0, 10, 20]), (1, [0, 20])):
        traces = {"watch.gradient_alignment": [0.5] * len(updates),
                  "watch.gradient_alignment.update": updates}  # fmt: skip
        trained(tmp_path, traces=traces, seed=seed)
    (picture,) = gradalign_curves.draw(read(tmp_path))
    points = [one for one in picture.spec["data"]["values"] if one["y"] == 0.5]
    assert sorted((one["x"], one["whole"]) for one in points) == [
        (0, True), (0, True), (10, False), (20, True), (20, True),
    ]  # fmt: skip
    trained(tmp_path, traces=traces, seed=2, onset=None)
    (picture,) = gradalign_curves.draw(read(tmp_path))
    assert not any(one["whole"] for one in picture.spec["data"]["values"]), "one held"
    thin, *bold = picture.spec["vconcat"][1]["hconcat"][0]["layer"]
    assert "whole" not in str(thin)
    assert all("whole" in str(layer["transform"]) for layer in bold)


def test_filters_by_update_and_at_updates(tmp_path):
    kinds = ("norm.0", "norm.1", "outgoing.0", "outgoing.1", "without.0", "without.1", "alignment",
             "alignment_without_largest")  # fmt: skip
    traces = {f"watch.{name}{end}": values for name in kinds
              for end, values in (("", [0.5, 0.25]), (".update", [0, 20]))}  # fmt: skip
    config = trained(tmp_path, traces=traces)
    weights = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)
    for stage in ("filters-at_10", "filters"):
        left(tmp_path, config, stage, {"filter": weights}, alignment=0.5)
    by_update, patches = gradalign_filters.draw(read(tmp_path))
    _, rest = lines(by_update)
    assert len(rest) == 2 * 7
    assert sum(",none," in line for line in rest) == 2
    head, rest = lines(patches)
    assert head == "run,update,filter,channel,row,column,weight,records"
    assert len(rest) == 2 * 36
    assert sum(",1,1,2,2,35.0," in line for line in rest) == 2
    remove(tmp_path, config, "filters")
    _, patches = gradalign_filters.draw(read(tmp_path))
    assert len(lines(patches)[1]) == 36


def test_feature_maps_say_how_far_fgsm_moves_them(tmp_path):
    config = trained(tmp_path)
    image = np.zeros((1, 2, 3, 2, 2), np.uint8)
    image[0, :, 0] = 255  # red
    of_clean, of_moved = [[1, 3], [-9, 0]], [[3, 1], [-9, 8]]  # below 0 ReLU takes all
    maps = np.array([[[of_clean, np.ones((2, 2))], [of_moved, np.ones((2, 2))]]], np.float16)
    whole = {"filter": np.zeros((2, 3, 1, 1), np.float32), "image": image, "map": maps}
    for stage in ("filters-at_10", "filters"):
        left(tmp_path, config, stage, whole, alignment=0.5)
    *_, picture = gradalign_filters.draw(read(tmp_path))
    assert picture.name == "gradalign_filters-maps"
    assert len(picture.spec["hconcat"]) == 2
    values = {(p["update"], p["version"], p["filter"]): p for p in picture.spec["data"]["values"]}
    assert len(values) == 2 * 2 * (1 + 2)
    assert values[20, "FGSM", 0]["moved"] == pytest.approx((2 + 2 + 0 + 8) / (1 + 3))
    assert values[20, "FGSM", 1]["moved"] == 0
    assert values[20, "clean", 0]["moved"] is None
    assert values[20, "FGSM", 0]["largest"] == 8
    shown = {who: pixels(values[20, *who]["url"]) for who in (("clean", None), ("FGSM", 0))}
    assert shown["clean", None][2, 2].tolist() == [255, 0, 0]
    of_one = gradalign_filters.SHARPER // 2 + gradalign_filters.SHARPER * np.arange(2)
    assert shown["FGSM", 0][np.ix_(of_one, of_one)].tolist() == [[159, 223], [255, 0]]
    remove(tmp_path, config, "filters-at_10")
    *_, picture = gradalign_filters.draw(read(tmp_path))
    assert {p["update"] for p in picture.spec["data"]["values"]} == {20}
    (tmp_path / "runs" / config.folder / "filters.safetensors").unlink()
    assert [*gradalign_filters.draw(read(tmp_path))] == []


def pixels(url):
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
