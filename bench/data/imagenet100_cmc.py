"""ImageNet-100 of contrastive learning: photographs in 100 classes, at 224x224 pixels.

Source: O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015
    (ILSVRC-2012); the classes are those of Y. Tian et al., Contrastive Multiview Coding, ECCV 2020.
Licence: ImageNet's terms allow non-commercial research and education, after registration.
Splits: official training images of these classes, 126,689; their 5,000 official validation
    images are the test set.
Files: nothing is downloaded. Below the data folder imagenet/, ILSVRC2012/ or Kaggle's
    ILSVRC/Data/CLS-LOC/, with train/ and val/ and in them a folder a class; val/ may be flat where
    Kaggle's LOC_val_solution.csv is beside it or in the data folder. Or imagenet100_cmc/ with
    train/ and val/ of just these classes. No sums of unpacked files are published: all are
    unofficial.
Pixels: training pictures are squashed to 256x256, and cropped in their own proportions; of test
    pictures the shorter side is made 256, and the middle 224x224 taken.
"""

from pathlib import Path

from bench.data import Info, Source, _imagenet
from bench.view import Augment

INFO = Info(
    shape=(3, 224, 224),
    classes=100,
    train=126_689,
    test=5_000,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    eps=8,
    augment=Augment(flip=True, resized=True),
    files={},
    download=154_642_401_280,  # the two official archives; a tenth of their pictures is used
)
CLASSES = (
    "n01558993", "n01692333", "n01729322", "n01735189", "n01749939", "n01773797", "n01820546",
    "n01855672", "n01978455", "n01980166", "n01983481", "n02009229", "n02018207", "n02085620",
    "n02086240", "n02086910", "n02087046", "n02089867", "n02089973", "n02090622", "n02091831",
    "n02093428", "n02099849", "n02100583", "n02104029", "n02105505", "n02106550", "n02107142",
    "n02108089", "n02109047", "n02113799", "n02113978", "n02114855", "n02116738", "n02119022",
    "n02123045", "n02138441", "n02172182", "n02231487", "n02259212", "n02326432", "n02396427",
    "n02483362", "n02488291", "n02701002", "n02788148", "n02804414", "n02859443", "n02869837",
    "n02877765", "n02974003", "n03017168", "n03032252", "n03062245", "n03085013", "n03259280",
    "n03379051", "n03424325", "n03492542", "n03494278", "n03530642", "n03584829", "n03594734",
    "n03637318", "n03642806", "n03764736", "n03775546", "n03777754", "n03785016", "n03787032",
    "n03794056", "n03837869", "n03891251", "n03903868", "n03930630", "n03947888", "n04026417",
    "n04067472", "n04099969", "n04111531", "n04127249", "n04136333", "n04229816", "n04238763",
    "n04336792", "n04418357", "n04429376", "n04435653", "n04485082", "n04493381", "n04517823",
    "n04589890", "n04592741", "n07714571", "n07715103", "n07753275", "n07831146", "n07836838",
    "n13037406", "n13040303",
)  # fmt: skip


def read(folder: Path) -> Source:
    """List the pictures.

    Raises:
        ValueError: there are no pictures of a class, or it is not known which picture has which.
        OSError: there is no ImageNet below the folder; says where it was looked for.
    """
    return _imagenet.read(folder, "imagenet100_cmc", CLASSES)
