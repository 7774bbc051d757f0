"""Data sets: splits, normalisation, and messages for what is not there."""

import pytest
import torch

from quant._torchvision import torchvision
from quant.data import load_data
from quant.errors import DataError, ImageError


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
    with pytest.raises(DataError, match="digits, cifar10, folder:PATH"):
        load_data(name)


def test_missing_cifar10_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="--download"):
        load_data("cifar10", root=tmp_path)


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
