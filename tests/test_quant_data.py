"""Data sets: splits, normalisation, and messages for what is not there."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from quant import eval, export, pack, train
from quant._torchvision import torchvision
from quant.data import CIFAR_MEAN, CIFAR_STD, load_data
from quant.errors import DataError, ImageError
from quant.images import read_image


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def test_digits_shapes_and_split(digits):
    assert len(digits.train) + len(digits.test) == 1797
    assert 0.19 < len(digits.test) / 1797 < 0.21
    counts = torch.bincount(torch.tensor([digits.test_image(i)[1] for i in range(len(digits.test))]))
    assert counts.min() >= 34 and counts.max() <= 38
    image, label = digits.test_image(0)
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32
    assert digits.classes[label] == str(label)


def test_digits_are_those_of_the_packages_that_are_not_imported(digits):
    """scikit-learn's images, normalised as torchvision does it, to the bit."""
    from sklearn.datasets import load_digits

    torchvision()
    from torchvision.transforms import v2

    packaged, normalise = load_digits(), v2.Normalize(digits.mean, digits.std)
    label_of = {
        image[0].numpy().tobytes(): int(label)
        for split in (digits.train, digits.test)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert len(label_of) == len(packaged.images)
    for image, label in zip(packaged.images, packaged.target, strict=True):
        larger = F.interpolate(torch.from_numpy(image).float()[None, None] / 16, size=(32, 32), mode="bilinear")[0, 0]
        assert label_of[larger.numpy().tobytes()] == label
    for index in range(0, len(digits.test), 7):
        assert torch.equal(digits.test[index][0], normalise(digits.test.images[index]))


def test_layers_are_captured_without_packages_that_take_seconds_to_import():
    """Each check of a core would pay for them."""
    command = (
        "import sys; from quant.capture import capture, check_request; from quant.network import load_network\n"
        "for name in ('vgg16_digits', 'resnet20_w4a4'):\n"
        "    check_request(name, None, 0); capture(load_network(name), None, 0)\n"
        "print([name for name in ('torchvision', 'sklearn', 'torch._dynamo', 'pytest') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_digits_splits_are_disjoint(digits):
    def pixels(split):
        return {image.numpy().tobytes() for image in split.images[:, 0]}

    assert not pixels(digits.train) & pixels(digits.test)


def test_digits_are_normalised_and_have_both_signs(digits):
    images = (digits.train.images - digits.mean[0]) / digits.std[0]
    assert abs(images.mean().item()) < 0.01
    assert abs(images.std().item() - 1) < 0.01
    image, _ = digits.test_image(0)
    assert image.min() < 0 < image.max()


def test_test_images_never_change_and_training_images_do(digits):
    assert torch.equal(digits.test_image(5)[0], digits.test_image(5)[0])
    assert not torch.equal(digits.train[5][0], digits.train[5][0])
    torch.manual_seed(3)
    first = digits.train[5][0]
    torch.manual_seed(3)
    assert torch.equal(first, digits.train[5][0])


@pytest.mark.parametrize("index", [-1, 10**6, 1.5, True, "0"])
def test_image_out_of_range_states_the_range(digits, index):
    with pytest.raises(ImageError, match=rf"digits has images 0\.\.{len(digits.test) - 1}"):
        digits.test_image(index)


def test_repeated_loads_share_one_data_set(digits):
    assert load_data("digits") is digits


@pytest.mark.parametrize("name", ["mnist", "folder", "folder:", ""])
def test_unknown_name_lists_the_names(name):
    with pytest.raises(DataError, match="digits, photos, cifar10, folder:PATH"):
        load_data(name)


def test_missing_cifar10_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"QUANT_DATA .*--download .* photos"):
        load_data("cifar10", root=tmp_path)


def test_photos_are_the_packaged_photographs():
    """A square of each side, cut and averaged here once more."""
    from sklearn.datasets import load_sample_images

    photos = load_data("photos")
    assert len(photos.test) == 2 * (1 * 2 + 3 * 5 + 6 * 10 + 13 * 20) and len(photos.train) == 0
    china, flower = load_sample_images().images
    # image, photograph, side, row and column of the square: 4 of side 256, 30 of 128, 120 of 64, 520 of 32
    for index, photograph, side, row, column in (
        (0, china, 256, 0, 0),
        (3, flower, 256, 0, 1),
        (4, china, 128, 0, 0),
        (4 + 2 * 9 + 1, flower, 128, 1, 4),
        (4 + 30 + 2 * 25, china, 64, 2, 5),
        (4 + 30 + 120 + 2 * 21 + 1, flower, 32, 1, 1),
        (673, flower, 32, 12, 19),
    ):
        top, left = (427 % side) // 2 + row * side, (640 % side) // 2 + column * side
        square = photograph[top : top + side, left : left + side].astype(np.float64)
        pixels = square.reshape(32, side // 32, 32, side // 32, 3).mean((1, 3)) / 255
        image, label = photos.test_image(index)
        assert label is None and image.shape == (3, 32, 32) and image.dtype == torch.float32
        expected = (pixels - photos.mean) / photos.std
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=1e-5)
    with pytest.raises(ImageError, match=r"photos has images 0\.\.673"):
        photos.test_image(674)
    assert load_data("photos") is photos


def test_images_without_classes_are_no_test_images(tmp_path):
    """Whatever would count hits or learn says so before it begins; nothing is written."""
    out = tmp_path / "out.safetensors"
    measured = "measuring the accuracy needs images with classes, and those of photos have none; .* digits, cifar10, f"
    with pytest.raises(DataError, match=measured):
        eval.main(["--checkpoint", "resnet20_digits", "--data", "photos"])
    with pytest.raises(DataError, match=measured):
        pack.main(["resnet20_digits", str(out), "--measure", "photos"])
    with pytest.raises(DataError, match=measured):
        export.main(["resnet20_digits", str(out), "--data", "photos"])
    with pytest.raises(DataError, match="training needs images with classes"):
        train.main(["--data", "photos", "--out", str(tmp_path / "run")])
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError):  # nor can anything else take the missing class for one
        next(iter(DataLoader(load_data("photos").test, 2)))


@pytest.fixture
def photographs(tmp_path):
    torchvision()
    from torchvision.transforms.functional import to_pil_image

    for split in ("train", "test"):
        for value, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            to_pil_image(torch.full((3, 40, 48), float(value))).save(folder / "0000.png")
    return tmp_path


def test_folder(photographs):
    data = load_data(f"folder:{photographs}")
    assert data.classes == ("cat", "dog")
    assert len(data.train) == len(data.test) == 2
    black, label = data.test_image(0)
    assert label == 0 and black.shape == (3, 32, 32)
    expected = [-mean / std for mean, std in zip(data.mean, data.std, strict=True)]
    assert black[:, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert data.train[1][0].shape == (3, 32, 32)


def test_classes_keep_their_names_in_a_network(photographs, digits):
    """A folder of some of a network's classes; one of as many others; one of more."""
    data = load_data(f"folder:{photographs}")
    own = [data.test_image(i)[1] for i in range(len(data.test))]
    assert data.in_classes_of(data.classes) == (data, "")
    names = ("zebra", *reversed(data.classes), "ant")
    found, remark = data.in_classes_of(names)
    assert found.classes == names and not remark
    assert [names[found.test_image(i)[1]] for i in range(len(found.test))] == [data.classes[label] for label in own]
    assert torch.equal(found.test_image(0)[0], data.test_image(0)[0])
    others = tuple(f"class {i}" for i in range(len(data.classes)))
    same, remark = data.in_classes_of(others)
    assert same is data and f"{data.classes[0]!r} as the network's 'class 0'" in remark
    with pytest.raises(DataError, match=rf"digits has 10 classes \(0, 1, .*, the network {len(others)} \(class 0"):
        digits.in_classes_of(others)
    photos = load_data("photos")
    assert photos.in_classes_of(others) == (photos, "")


def test_folder_without_splits(tmp_path):
    with pytest.raises(DataError, match="train is not a folder"):
        load_data(f"folder:{tmp_path}")


def test_folder_whose_splits_disagree(photographs):
    (photographs / "test" / "dog").rename(photographs / "test" / "cow")
    with pytest.raises(DataError, match=r"same classes.*cow.*dog"):
        load_data(f"folder:{photographs}")


def test_folder_without_images(photographs):
    (photographs / "train" / "dog" / "0000.png").unlink()
    with pytest.raises(DataError, match="holds no images"):
        load_data(f"folder:{photographs}")


def grey_gradient():
    """16 bits, 0 to 65535, all 257 apart."""
    return (np.arange(32 * 32, dtype=np.uint32) * 65535 // 1023).astype(np.uint16).reshape(32, 32)


def test_16_bit_grey_keeps_its_shades(photographs):
    from PIL import Image

    Image.fromarray(grey_gradient()).save(photographs / "test/cat/0000.png")
    image, _ = load_data(f"folder:{photographs}").test_image(0)
    pixels = image * torch.tensor(CIFAR_STD)[:, None, None] + torch.tensor(CIFAR_MEAN)[:, None, None]
    expected = (grey_gradient() / 65535).astype(np.float32)
    for channel in pixels:
        np.testing.assert_allclose(channel.numpy(), expected, atol=0.51 / 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "RGBA"])
def test_modes_of_8_bits_are_read_as_they_look(tmp_path, mode):
    from PIL import Image

    plain = Image.new("RGB", (8, 8), (255, 255, 255))
    suffix = {"CMYK": "tif", "YCbCr": "tif"}.get(mode, "png")
    plain.convert(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.mode == "RGB" and set(np.asarray(image).flatten()) <= {254, 255}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda image: image.new("RGBA", (8, 8), (9, 9, 9, 128)), "has transparent pixels"),
        (lambda image: image.new("LA", (8, 8), (9, 0)), "has transparent pixels"),
        (lambda image: image.new("F", (8, 8), 0.5), "has the mode F, whose range is not known"),
        (lambda image: image.new("I", (8, 8), 70000), "has the mode I, whose range is not known"),
        (lambda image: image.new("LAB", (8, 8)), "has the mode LAB, whose range is not known"),
    ],
)
def test_modes_that_cannot_be_converted_are_refused_by_name(tmp_path, make, message):
    from PIL import Image

    path = tmp_path / "a.tif"
    make(Image).save(path)
    with pytest.raises(DataError, match=f"image {path} {message}"):
        read_image(path)


@pytest.mark.parametrize("cut", [0, 20, 200])
def test_a_damaged_image_is_named(photographs, cut):
    path = photographs / "test/cat/0000.png"
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    from PIL import Image

    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=rf"image {path} cannot be read \(.*\); remove it or write it anew"):
        load_data(f"folder:{photographs}").test_image(0)
