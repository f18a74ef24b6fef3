"""ImageNet-100 of the SORA benchmark: photographs of 100 kinds of animals, at 224x224 pixels.

Source: O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015
    (ILSVRC-2012); the classes, all among its first 151, are those of the copy that SORA's authors
    took (ilee0022/ImageNet100). ``imagenet100_cmc`` is the more usual choice.
Licence: ImageNet's terms allow non-commercial research and education, after registration.
Splits: official training images of these classes, 1,300 each; their 5,000 official validation
    images are the test set. SORA's authors train on 117,000 of the 130,000: those that are left
    after a validation split of their copy, which the official files cannot tell.
Files: nothing is downloaded. Below the data folder imagenet/, ILSVRC2012/ or Kaggle's
    ILSVRC/Data/CLS-LOC/, with train/ and val/ and in them a folder a class; val/ may be flat where
    Kaggle's LOC_val_solution.csv is beside it or in the data folder. Or imagenet100/ with train/
    and val/ of just these classes. No sums of unpacked files are published: all are unofficial.
Pixels: training pictures are squashed to 256x256, and cropped in their own proportions; of test
    pictures the shorter side is made 256, and the middle 224x224 taken.
"""

from pathlib import Path

from bench.data import Info, Source, _imagenet
from bench.view import Augment

INFO = Info(
    shape=(3, 224, 224),
    classes=100,
    train=130_000,
    test=5_000,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    eps=8,
    augment=Augment(flip=True, resized=True),
    files={},
    download=154_642_401_280,  # the two official archives; a tenth of their pictures is used
)
CLASSES = (
    "n01440764", "n01443537", "n01484850", "n01491361", "n01494475", "n01496331", "n01498041",
    "n01514668", "n01514859", "n01531178", "n01537544", "n01560419", "n01582220", "n01592084",
    "n01601694", "n01608432", "n01614925", "n01622779", "n01630670", "n01632458", "n01632777",
    "n01644900", "n01664065", "n01665541", "n01667114", "n01667778", "n01675722", "n01677366",
    "n01685808", "n01687978", "n01693334", "n01695060", "n01698640", "n01728572", "n01729322",
    "n01729977", "n01734418", "n01735189", "n01739381", "n01740131", "n01742172", "n01749939",
    "n01751748", "n01753488", "n01755581", "n01756291", "n01770081", "n01770393", "n01773157",
    "n01773549", "n01773797", "n01774384", "n01774750", "n01775062", "n01776313", "n01795545",
    "n01796340", "n01798484", "n01806143", "n01818515", "n01819313", "n01820546", "n01824575",
    "n01828970", "n01829413", "n01833805", "n01843383", "n01847000", "n01855672", "n01860187",
    "n01877812", "n01883070", "n01910747", "n01914609", "n01924916", "n01930112", "n01943899",
    "n01944390", "n01950731", "n01955084", "n01968897", "n01978287", "n01978455", "n01984695",
    "n01985128", "n01986214", "n02002556", "n02006656", "n02007558", "n02011460", "n02012849",
    "n02013706", "n02018207", "n02018795", "n02027492", "n02028035", "n02037110", "n02051845",
    "n02058221", "n02077923",
)  # fmt: skip


def read(folder: Path) -> Source:
    """List the pictures.

    Raises:
        ValueError: there are no pictures of a class, or it is not known which picture has which.
        OSError: there is no ImageNet below the folder; says where it was looked for.
    """
    return _imagenet.read(folder, "imagenet100", CLASSES)
