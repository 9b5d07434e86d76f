"""One image file: what is read, what it becomes, what is refused, and that nothing is started for it."""

import io
import itertools
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from stand_ins import REPOSITORY

from REZSL.data import build_transform
from REZSL.data.image_file import MARGIN, ImageReader, decoding_problem, open_image
from REZSL.data.images import check_images
from REZSL.utils.errors import DataError

FORMATS = "none of JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM"


def noise(seed, width=40, height=30):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def read(path, side=None, **options):
    """(H, W, 3) array, and the reader's word on its shape is checked."""
    reader = ImageReader(**options)
    image = reader.read(path, side)
    assert image.dtype == torch.uint8 and reader.shape(path, side) == tuple(image.shape[1:])
    return image.permute(1, 2, 0).numpy()


def refused(path, said):
    """Reading, measuring or checking ``path`` is refused in one line that names it; returns nothing of the image."""
    for refuses in (ImageReader().read, lambda path: check_images([path])):
        with pytest.raises(DataError, match=said) as told:
            refuses(path)
        assert str(path) in str(told.value) and "\n" not in str(told.value)
    assert re.search(said, decoding_problem(io.BytesIO(path.read_bytes())))


# ---- files written by hand, so that what Pillow writes is not the measure of what it reads


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, colour_type, depth=16, before=b"", after=b""):
    """``values`` (H, W) or (H, W, channels) as a PNG; other chunks go before or after the pixels."""
    rows = values.astype(">u2" if depth == 16 else "u1").reshape(len(values), -1)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
    return head + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")


def tiff(data, width, height, bits, order="<", black=1, sample_format=1, channels=1):
    """One strip of ``data``; ``black`` 0: the largest value is black; 2: colours."""
    after = 8 + 2 + 12 * 10 + 4  # header, number of entries, entries, no further image
    long = b"".join(struct.pack(f"{order}{channels}H", *[value] * channels) for value in (bits, sample_format))
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: black, 273: after + len(long)}
    entries |= {277: channels, 278: height, 279: len(data), 339: sample_format}
    directory = b""
    for tag, value in entries.items():
        if tag in (258, 339) and channels > 2:  # a value for each channel, which lie behind
            place = after + (len(long) // 2 if tag == 339 else 0)
            directory += struct.pack(f"{order}HHII", tag, 3, channels, place)
        else:
            directory += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return head + directory + bytes(4) + long + data


RAMP = np.linspace(0, 65535, 12 * 20).round().astype(np.uint32).reshape(12, 20)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)


def packed_12_bits():
    values = (RAMP >> 4).reshape(-1, 2)
    return np.stack([values[:, 0] >> 4, (values[:, 0] & 15) << 4 | values[:, 1] >> 8, values[:, 1] & 255], 1)


DEEP = {  # (file, what it shows)
    "grey.png": (png(RAMP, 0), RAMP >> 8),
    "colours.png": (png(COLOURS, 2), COLOURS >> 8),
    "opaque.png": (png(np.dstack([COLOURS, np.full_like(RAMP, 65535)]), 6), COLOURS >> 8),
    "clear.png": (png(np.dstack([RAMP, 65535 * (RAMP < 9999)]), 4), np.where(RAMP < 9999, RAMP >> 8, 255)),
    "grey.pgm": (b"P5 20 12 65535\n" + RAMP.astype(">u2").tobytes(), RAMP >> 8),
    "little.tif": (tiff(RAMP.astype("<u2").tobytes(), 20, 12, 16), RAMP >> 8),
    "big.tif": (tiff(RAMP.astype(">u2").tobytes(), 20, 12, 16, ">"), RAMP >> 8),
    "negative.tif": (tiff((65535 - RAMP).astype("<u2").tobytes(), 20, 12, 16, black=0), RAMP >> 8),
    "12_bits.tif": (tiff(packed_12_bits().astype("u1").tobytes(), 20, 12, 12), RAMP >> 8),
    "colours.tif": (tiff(COLOURS.astype("<u2").tobytes(), 20, 12, 16, black=2, channels=3), COLOURS >> 8),
    "floats.tif": (tiff((RAMP / 65535).astype("<f4").tobytes(), 20, 12, 32, sample_format=3), None),
    "big_floats.tif": (tiff((RAMP / 65535).astype(">f4").tobytes(), 20, 12, 32, ">", sample_format=3), None),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_are_brought_to_8(tmp_path, name):
    content, expected = DEEP[name]
    path = tmp_path / name
    path.write_bytes(content)
    check_images([path])
    if expected is None:
        expected = np.rint(RAMP / 65535 * 255)
    if expected.ndim == 2:
        expected = np.stack([expected] * 3, -1)
    found = read(path)
    assert np.array_equal(found, expected) and found.min() == 0 and found.max() == 255


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiff((RAMP * 50_000).astype("<u4").tobytes(), 20, 12, 32), "32-bit whole numbers, of which none is known"),
        (tiff(RAMP.astype("<i4").tobytes(), 20, 12, 32, sample_format=2), "32-bit whole numbers"),
        (tiff((RAMP >> 1).astype("<i2").tobytes(), 20, 12, 16, sample_format=2), "signed .* make it 8 bits a colour"),
        (tiff(RAMP.astype("<f4").tobytes(), 20, 12, 32, sample_format=3), "run from 0 to 65535, floats .* from 0 to 1"),
        (tiff((RAMP / -65535).astype("<f4").tobytes(), 20, 12, 32, sample_format=3), "run from -1 to"),
        (tiff(np.full(240, np.nan, "<f4").tobytes(), 20, 12, 32, sample_format=3), "run from nan to nan"),
    ],
    ids=["unsigned", "signed", "signed 16", "large floats", "negative floats", "nan"],
)
def test_values_without_a_known_white_are_refused(tmp_path, content, said):
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    refused(path, said)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_is_read_as_rgb(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode in ("CMYK", "YCbCr") else "image.png")
    noise(0).convert(mode).save(path)
    check_images([path])
    assert np.array_equal(read(path), Image.open(path).convert("RGB"))


def transparent(kind):
    """A red image that is transparent, over blue, in its left half."""
    half = np.zeros((6, 8), np.uint8)
    half[:, :4] = 1
    if kind in ("RGBA.png", "RGBA.webp", "RGBA.tif"):
        pixels = np.array([[255, 0, 0, 255], [0, 0, 255, 0]], np.uint8)[half]
        return Image.fromarray(pixels), {"lossless": True} if kind.endswith("webp") else {}
    if kind == "LA.png":
        return Image.fromarray(np.array([[77, 255], [20, 0]], np.uint8)[half], "LA"), {}
    if kind == "RGB.png":
        return Image.fromarray(np.array([[255, 0, 0], [0, 0, 255]], np.uint8)[half]), {"transparency": (0, 0, 255)}
    if kind == "L.png":
        return Image.fromarray(np.array([77, 20], np.uint8)[half]), {"transparency": 20}
    image = Image.fromarray(half, "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    return image, {"transparency": 1}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["RGBA.png", "RGBA.webp", "RGBA.tif", "LA.png", "RGB.png", "L.png", "P.png", "P.gif"])
def test_what_is_transparent_is_white_and_not_what_hides_below(tmp_path, kind):
    path = tmp_path / kind
    image, options = transparent(kind)
    image.save(path, **options)
    found = read(path)
    assert (found[:, :4] == 255).all()
    assert (found[:, 4:] == ([77] * 3 if kind.startswith("L") else [255, 0, 0])).all()


def test_half_transparent_is_half_white(tmp_path):
    Image.new("RGBA", (5, 5), (255, 0, 100, 128)).save(tmp_path / "image.png")
    found = read(tmp_path / "image.png")
    assert np.abs(found.astype(float) - [255, 127, 177]).max() <= 1


# ---- which way is up

FIRST = {  # orientation: the side of the upright image where the file's first row is, and its first column (EXIF 2.3)
    1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
    5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom",
}  # fmt: skip


def upright(stored, orientation):
    """By hand: every pixel of the file goes where the specification has it."""
    row_side, column_side = FIRST[orientation].split()
    height, width = stored.shape[:2]
    sideways = row_side in ("left", "right")
    result = np.zeros((width, height, 3) if sideways else (height, width, 3), np.uint8)
    for row, column in itertools.product(range(height), range(width)):
        along_rows = row if row_side in ("top", "left") else height - 1 - row
        along_columns = column if column_side in ("top", "left") else width - 1 - column
        result[(along_columns, along_rows) if sideways else (along_rows, along_columns)] = stored[row, column]
    return result


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", FIRST)
def test_images_are_turned_upright(tmp_path, suffix, orientation):
    path, plain = tmp_path / f"turned.{suffix}", tmp_path / f"plain.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    noise(3, 20, 12).save(path, exif=exif(orientation), **options)
    noise(3, 20, 12).save(plain, **options)
    stored = read(plain)
    assert np.array_equal(read(path), upright(stored, orientation))
    if suffix != "tif":  # Pillow turns them itself
        assert np.array_equal(read(path, upright=False), stored)


def test_an_orientation_after_the_pixels_counts_as_well(tmp_path):
    path, pixels = tmp_path / "image.png", np.array(noise(3, 20, 12))
    path.write_bytes(png(pixels, 2, 8, after=chunk(b"eXIf", exif(6).tobytes()[6:])))
    assert np.array_equal(read(path), upright(pixels, 6))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("tags", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"", exif(0), exif(9)])
def test_a_nonsensical_orientation_is_none(tmp_path, tags):
    path = tmp_path / "image.jpg"
    noise(3, 20, 12).save(path, exif=tags)
    assert read(path).shape == (12, 20, 3)


def test_a_turned_jpeg_is_scaled_all_the_same(tmp_path):
    path = tmp_path / "image.jpg"
    noise(3, 16 * MARGIN, 4 * MARGIN).save(path, exif=exif(6))
    assert read(path, side=2).shape == (8 * MARGIN, 2 * MARGIN, 3)


# ---- decoding JPEGs scaled down


@pytest.mark.parametrize("side", [None, 20, 11, 10, 9, 5, 3, 2, 1])
def test_a_jpeg_keeps_8_times_what_it_is_resized_to(tmp_path, side):
    path = tmp_path / "image.jpg"
    noise(0, 200, 160).save(path)
    found = read(path, side)
    scale = max(s for s in (1, 2, 4, 8) if s == 1 or (side and 160 / s >= 8 * side))
    assert found.shape == (160 // scale, 200 // scale, 3)
    assert read(path, side, scaled=False).shape == (160, 200, 3)


def mosaics(photographs, number, size):
    """JPEGs of ``size`` pixels, of the middles of many photographs: details as fine as a camera's."""
    rng = np.random.default_rng(0)
    for _ in range(number):
        mosaic = Image.new("RGB", (size, size))
        for corner in itertools.product(range(0, size, 256), repeat=2):
            with Image.open(photographs[rng.integers(len(photographs))]) as image:
                left, top = (image.width - 256) // 2, (image.height - 256) // 2
                mosaic.paste(image.convert("RGB").crop((left, top, left + 256, top + 256)), corner)
        buffer = io.BytesIO()
        mosaic.save(buffer, "JPEG", quality=92)
        yield buffer


def test_scaled_decoding_leaves_the_features_as_they_are(shared_data):
    """Those of frozen weights at 64 pixels: cosine above 0.999; at a fourth of the margin it would not be."""
    timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights = torch.load(shared_data / "weights" / "tf_efficientnet_lite0.pth", weights_only=True)
    network.load_state_dict(weights)
    network.eval()
    transform = build_transform("resize_crop", 64)
    photographs = sorted(shared_data.glob("CUB/CUB_200_2011/images/*/*.jpg"))
    looks = {"whole": [], "scaled": [], "too far": []}
    for file in mosaics(photographs, 12, 1024):
        for name, reader, side in (
            ("whole", ImageReader(scaled=False), 64),
            ("scaled", ImageReader(), 64),
            ("too far", ImageReader(), 16),
        ):
            file.seek(0)
            image = reader.read(file, side)
            assert image.shape[1] == {"whole": 1024, "scaled": 512, "too far": 128}[name]
            looks[name].append(transform(image))
    with torch.inference_mode():
        features = {
            name: network.forward_features(torch.stack(images) / 127.5 - 1).mean((2, 3))
            for name, images in looks.items()
        }
    cosine = {name: torch.cosine_similarity(features["whole"], found).min() for name, found in features.items()}
    assert cosine["scaled"] > 0.999 > cosine["too far"]


# ---- what is refused


def test_no_file_starts_a_program(tmp_path, fake_gs):
    """Pillow runs Ghostscript on an EPS file, whatever its name."""
    path = tmp_path / "image.jpg"
    noise(0).save(path, "EPS")
    refused(path, FORMATS)
    with pytest.raises(DataError, match=FORMATS):
        ImageReader().shape(path)
    assert not fake_gs.exists()
    with pytest.raises(Exception):  # noqa: B017
        Image.open(path).load()
    assert fake_gs.exists()  # so it would have been seen


@pytest.mark.parametrize("suffix", ["ico", "tga", "pcx", "sgi", "dds"])
def test_formats_that_nobody_means_are_refused(tmp_path, suffix):
    noise(0, 32, 32).save(tmp_path / f"image.{suffix}")
    path = (tmp_path / f"image.{suffix}").rename(tmp_path / "image.jpg")
    refused(path, FORMATS)


def test_images_are_opened_in_one_place():
    """Elsewhere Image.open says which of its own formats it expects."""
    files = [path for folder in ("REZSL", "tools", "assets") for path in (REPOSITORY / folder).rglob("*.py")]
    calls = [(path, call) for path in files for call in re.findall(r"Image\.open\([^)]*\)", path.read_text("utf-8"))]
    assert len(calls) >= 2 and [call for call in calls if "formats=" not in call[1]] == []


@pytest.mark.parametrize("suffix", ["jpg", "gif", "bmp", "webp", "tif", "ppm", "png"])
def test_the_formats_that_are_meant_are_read(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    noise(0).save(path)
    check_images([path])
    assert np.array_equal(read(path), Image.open(path).convert("RGB"))


def test_a_phones_jpeg_of_two_pictures_shows_the_first(tmp_path):
    path = tmp_path / "image.jpg"
    noise(0).save(path, "MPO", save_all=True, append_images=[noise(1)], exif=exif(6))
    with Image.open(path) as image:
        assert image.format == "MPO"
    noise(0).save(tmp_path / "plain.jpg")
    assert np.array_equal(read(path), upright(read(tmp_path / "plain.jpg"), 6))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [(50, 1, True), (1, 50, True), (51, 1, False), (1, 60_000, False), (9_000, 10_000, False)],
)
def test_how_large_and_how_long_an_image_may_be(tmp_path, width, height, fits):
    path = tmp_path / "image.pgm"
    with path.open("wb") as file:  # the pixels are a hole
        file.write(b"P5 %d %d 255\n" % (width, height))
        file.truncate(file.tell() + width * height)
    if fits:
        assert read(path).shape == (height, width, 3)
        return
    refused(path, rf"it has {width} x {height} pixels, images may have .* up to 50 to 1: cut or scale it")
    with pytest.raises(DataError, match="pixels, images may have"):
        ImageReader().shape(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(png(np.zeros((1, 1)), 0, 8).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60_000, 60_000)))
    content = bytearray(path.read_bytes())
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    refused(path, "3600000000 pixels")


def test_a_file_of_text_says_what_was_expected(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_text("<html>")
    refused(path, rf"\(it is {FORMATS}|: it is {FORMATS}|^it is {FORMATS}")
    with pytest.raises(DataError, match=FORMATS):
        open_image(path)


# ---- what is damaged


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1), progressive=st.booleans())
def test_the_coarse_check_finds_what_decoding_would(tmp_path_factory, share, progressive):
    """check_images looks at a JPEG at 1/8 size; it must refuse exactly what reading would."""
    buffer = io.BytesIO()
    noise(1, 131, 97).save(buffer, "JPEG", progressive=progressive)
    path = tmp_path_factory.getbasetemp() / "cut.jpg"
    path.write_bytes(buffer.getvalue()[: round(share * len(buffer.getvalue()))])

    def is_refused(function, argument):
        try:
            function(argument)
        except DataError:
            return True
        return False

    assert is_refused(check_images, [path]) == is_refused(ImageReader().read, path)
    assert share > 0.99 or is_refused(ImageReader().read, path)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what it overlooks
@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["grey.png", "little.tif", "floats.tif", "grey.pgm"]))
def test_changed_bytes_end_in_an_image_or_in_one_line(tmp_path_factory, data, name):
    content = bytearray(DEEP[name][0])
    for place in data.draw(st.lists(st.integers(0, min(200, len(content) - 1)), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        found = ImageReader().read(path)
    except DataError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        assert decoding_problem(path)
    else:
        assert found.dtype == torch.uint8 and decoding_problem(path) is None
