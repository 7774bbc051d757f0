"""What a training run is: :class:`Recipe`."""

from dataclasses import MISSING, asdict, dataclass, fields

from quant.errors import QuantError
from quant.models import ModelSpec
from quant.training.batches import AUGMENTATIONS
from quant.training.calibration import CALIBRATIONS

ANNEALINGS = ("cosine", "straight")
# Fields that came later: a checkpoint holds them only where they are not the default, so that older runs resume.
_LATER = (
    "minutes",
    "anneal",
    "rise",
    "small",
    "small_until",
    "hole",
    "held_out",
    "decay_all",
    "learn_steps",
    "statistics",
    "compile",
    "aims_each_step",
    "paste",
    "keep_last",
)


@dataclass(frozen=True)
class Recipe:
    """What determines the trained weights, apart from the device and the library versions.

    The clipping levels train at ``lr * alpha_lr`` without weight decay (seed 003). The learning rate rises over
    ``warmup`` epochs and follows a cosine to 0 over the rest. ``calibration`` sets the clipping levels from the first
    batch (:func:`~quant.training.calibration.calibrate`); with 'none' they start at the course's 8.0 and 3.0.

    minutes: the run's length by the clock in place of ``epochs``. The rate follows the share of them that has passed,
        step by step, and is 0 at their end, however fast the machine; the results then depend on its speed.
    anneal: 'cosine', or 'straight': in a straight line to 0, step by step too.
    rise: share of such a run in which the rate rises; 0: that of ``warmup``.
    small: side in pixels to which the images are brought while less than ``small_until`` of the run has passed; 0: 32.
    augment: 'dataset': the data set's own transform, image by image. Others: :mod:`quant.training.batches`.
    hole: side of the square that 'alternating' blanks in each image; 0: none.
    paste: share of the batches in which every image has a rectangle of another one in it, and of its label and its
        teacher's scores as much (CutMix; Yun et al., 2019). Needs images held in memory.
    held_out: training images that are not trained on; they choose the epoch, and the test images are looked at once,
        at the end. 0: the epoch is chosen on the test images, as the seeds do.
    keep_last: no epoch is chosen: the last is kept. Without ``held_out`` all images are trained on, of which some are
        watched, and the test images are looked at once, at the end. For a run whose length another one has shown.
    decay_all: weight decay on BatchNorm and biases too.
    learn_steps: LSQ's gradients for the clipping levels (:mod:`quant.quantizers`).
    statistics: training images on which BatchNorm's statistics are measured anew before the first epoch of a network
        that starts from another one, and at the end; 0: they are as the epochs leave them.
    ema: decay of the averaged weights, which are then what is tested and kept as the best; 0: none.
    clip_grad: largest norm of all gradients together; 0: any.
    amp: bfloat16 mixed precision, on CUDA and on a CPU that computes in it. channels_last: memory layout of the weights
        (on CUDA only, unless ``compile``). compile: torch.compile, where a C++ compiler is at hand.
    warm_start: checkpoint whose layers are the start where they fit. teacher: checkpoint whose scores are learned, with
        weight ``distill`` beside the labels' 1 - distill, both at ``temperature``. Either is a path, a recipe that was
        trained beside this one, or the name of a shipped network. Several have + between them: the start is the mean of
        their weights (:func:`quant.training.warm_start.mean_of`), what is learned the mean of their scores. With
        'alternating' the teacher scores every image once, before the first epoch: the mean of its scores of the image
        and of its mirror image.
    aims_each_step: the teacher scores every batch as the network sees it, moved and blanked, in place of that: what is
        learned never repeats, so it is not learned by heart (Beyer et al., 2022), for a third more time.
    """

    spec: ModelSpec
    data: str = "digits"
    epochs: int = 30
    minutes: float = 0.0
    batch_size: int = 64
    lr: float = 0.05
    anneal: str = "cosine"
    warmup: int = 0
    rise: float = 0.0
    weight_decay: float = 4e-4
    decay_all: bool = True
    label_smoothing: float = 0.1
    alpha_lr: float = 0.1
    learn_steps: bool = False
    calibration: str = "quantile"
    statistics: int = 0
    seed: int = 0
    nesterov: bool = False
    augment: str = "dataset"
    small: int = 0
    small_until: float = 0.0
    hole: int = 0
    held_out: int = 0
    ema: float = 0.0
    clip_grad: float = 0.0
    amp: bool = False
    channels_last: bool = False
    compile: bool = False
    warm_start: str | None = None
    teacher: str | None = None
    distill: float = 0.7
    temperature: float = 3.0
    aims_each_step: bool = False
    paste: float = 0.0
    keep_last: bool = False

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr", "temperature"):
            if not getattr(self, name) > 0:
                raise QuantError(f"{name} must be above 0, got {getattr(self, name)!r}")
        ranges = {
            "minutes": 1e6, "warmup": self.epochs - 1, "rise": 0.99, "ema": 0.99999, "distill": 1, "clip_grad": 1e9,
            "small_until": 1, "hole": 32, "paste": 1, "held_out": 1e9, "statistics": 1e9,
        }  # fmt: skip
        for name, top in ranges.items():
            if not 0 <= getattr(self, name) <= top:
                raise QuantError(f"{name} must lie in 0..{top:g}, got {getattr(self, name)!r}")
        for name, known in (("augment", AUGMENTATIONS), ("calibration", CALIBRATIONS), ("anneal", ANNEALINGS)):
            if getattr(self, name) not in known:
                raise QuantError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.small and not 8 <= self.small < 32:
            raise QuantError(f"small must be 0 or lie in 8..31 pixels, got {self.small!r}")
        if self.augment == "dataset":
            for name in ("held_out", "statistics", "paste", "keep_last"):
                if getattr(self, name):
                    raise QuantError(f"{name} needs images held in memory; choose an --augment other than 'dataset'")

    @property
    def by_step(self) -> bool:
        """Whether the rate changes with every step; otherwise with every epoch."""
        return self.minutes > 0 or self.anneal != "cosine" or self.rise > 0

    def to_dict(self) -> dict:
        """Plain values, for a checkpoint's ``meta``; the model as :meth:`quant.models.ModelSpec.to_dict` has it."""
        defaults = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        values = {**asdict(self), "spec": self.spec.to_dict()}
        return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}
