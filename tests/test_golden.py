"""Three steps on the tiny network against stored numbers, so that no refactoring moves the science.

A number here changes only with its reason in the same commit. To see the new ones:
python -m pytest tests/test_golden.py -v
"""

import pytest
import torch

from methods import names

# method: (sum of the weights, sum of their squares, loss of the third step)
GOLDEN = {
    # no attack lowers a loss here, so this is N-FGSM; AAER's terms stand in test_limits_state.py
    "aaer": (2.81566402, 9.54430394, 1.49081731),
    "atas": (2.83996226, 9.55046326, 1.48907626),
    "atta": (2.84873339, 9.556568, 1.48610878),
    "awp": (2.82202807, 9.54474217, 1.49599183),
    "converge_smooth": (2.87845281, 9.56414572, 1.44372082),
    "cure": (2.88080189, 9.57027475, 1.41156685),
    "dom": (2.8354226, 9.54810127, 1.48067868),
    "elle": (2.82765836, 9.54271535, 1.49652708),
    "fast_bat": (2.83758525, 9.54390044, 1.49231827),
    "fgsm": (2.83210936, 9.54450026, 1.49099255),
    "fgsm_law": (2.86093642, 9.55288088, 1.45452356),
    "fgsm_mep": (2.86686093, 9.55958067, 1.45032215),
    "fgsm_pco": (2.88150702, 9.565415, 1.43852043),
    "fgsm_pgk": (2.88048789, 9.56395316, 1.43451774),
    "fgsm_rs": (2.83542262, 9.54810127, 1.48067868),
    "fgsm_sdi": (2.88405485, 9.56379552, 1.42894542),
    "fgsm_uap": (2.85271877, 9.55429961, 1.45429087),
    "free_at": (-1.8810035, 10.1356198, 1.25226927),
    "gat": (2.87722275, 9.56897341, 1.41507506),
    "grad_align": (2.83147084, 9.54451018, 1.49558258),
    "lap": (2.82806496, 9.54909761, 1.45774496),
    "liet": (2.84980522, 9.55648065, 1.42175698),
    "llr": (2.84127352, 9.54770676, 1.48434997),
    "lp_fgsm": (2.83407567, 9.54506359, 1.49019742),
    "mart": (2.71772635, 9.52413961, 1.83027124),
    # no image has more than half here, so this is standard training; see test_limits_memory.py
    "mma": (2.88231646, 9.57124103, 1.41152465),
    "multigrad": (2.82951683, 9.54465906, 1.49006891),
    "n_fgsm": (2.81566402, 9.54430394, 1.49081731),
    "nuat": (2.72265434, 9.50249813, 1.62952507),
    "pgd10": (2.83570554, 9.54334351, 1.49400401),
    "pgd2": (2.84660412, 9.55044412, 1.47393739),
    "seat": (2.84886583, 9.55249233, 1.37730658),
    "soar": (2.79467989, 9.54043690, 1.44271696),
    "sora": (2.82126104, 9.54498908, 1.49257386),
    "ssat": (2.88033937, 9.5704989, 1.41151333),
    "standard": (2.88231643, 9.57124103, 1.41152465),
    "sub_at": (2.77080021, 9.56815987, 1.55042756),
    "tdat": (2.88276298, 9.5655692, 1.42154598),
    "trades": (2.86129152, 9.56553096, 1.41952586),
    "zerograd": (2.83138693, 9.54711189, 1.48310661),
}


def fingerprint(tiny, name):
    trainer = tiny.trainer(name)
    torch.manual_seed(7)
    trainer.method.on_epoch(trainer.net, trainer.state, 1)  # past NuAT's first, without its term
    trainer.advance(3)
    w = tiny.weights(trainer.net).double()
    return w.sum().item(), w.square().sum().item(), trainer.log.table[0, 0].item()


def test_every_method_has_a_golden():
    assert sorted(GOLDEN) == names()


@pytest.mark.parametrize("golden", GOLDEN)
def test_three_steps_give_the_stored_numbers(tiny, golden):
    assert fingerprint(tiny, golden) == pytest.approx(GOLDEN[golden], rel=1e-5)
