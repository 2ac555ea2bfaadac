"""Files that are broken, too large, or made to hurt: each ends in an error that says so, in bounded memory."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.photographs import ENOUGH, ROOM, file, lying, plain, png, ycck
from shared.errors import DamagedImage, GatewayError, ImageTooLarge, UnsupportedImage
from shared.scoring.images import forwardable, to_file, to_tensor
from shared.settings import Preprocessing

HOW = Preprocessing(size=28, resize=32)
PICTURE = plain("coffee").resize((120, 80))

FILES = {
    "JPEG": file(PICTURE, "JPEG"),
    "progressive JPEG": file(PICTURE, "JPEG", progressive=True),
    "YCCK": ycck(PICTURE),
    "PNG": file(PICTURE, "PNG"),
    "GIF": file(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
    "WebP": file(PICTURE, "WEBP"),
    "WebP lossless": file(PICTURE, "WEBP", lossless=True),
    "WebP with metadata": lying(PICTURE, 3, "WEBP"),
    "BMP": file(PICTURE, "BMP"),
    "TIFF": file(PICTURE, "TIFF"),
    "TIFF LZW": file(PICTURE, "TIFF", compression="tiff_lzw"),
    "TIFF of two pages": file(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
    "AVIF": file(PICTURE, "AVIF"),
    "HEIC": file(PICTURE, "HEIF"),
}
# The first picture of these ends well before the file does; the last bytes of others say only that it has ended.
MAY_LACK = {"GIF": 100, "TIFF of two pages": 500, "PNG": 40, "YCCK": 2}


def both_forms(data: bytes, max_pixels: int = ENOUGH) -> None:
    to_tensor(data, HOW, max_pixels)
    to_file(data, HOW, max_pixels, ROOM)


def peak_megabytes(work: Callable[[], object]) -> float:
    """How far the resident set rose meanwhile, at most (proc(5), VmHWM)."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    work()
    return (_status("VmHWM") - before) / 1e3


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


only_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured by Linux's proc")


@pytest.mark.parametrize("name", FILES)
def test_the_whole_file_is_sound(name: str) -> None:
    both_forms(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_anywhere_is_damaged(name: str) -> None:
    data = FILES[name]
    end = len(data) - MAY_LACK.get(name, 0)
    for length in sorted({*range(32, end, end // 25), end - 1}):
        for work in (lambda cut: to_tensor(cut, HOW, ENOUGH), lambda cut: to_file(cut, HOW, ENOUGH, ROOM)):
            with pytest.raises(DamagedImage):
                work(data[:length])


@pytest.mark.parametrize("name", FILES)
def test_bytes_that_were_changed_are_decoded_or_refused_but_nothing_else(name: str) -> None:
    data = FILES[name]
    for seed in range(40):
        broken = bytearray(data)
        for step in range(1 + seed % 5):
            at = zlib.crc32(bytes([seed, step])) % (len(data) if seed % 2 else min(300, len(data)))
            broken[at] = zlib.crc32(bytes([step, seed])) % 256
        try:
            forwardable(bytes(broken), 1_000_000, ROOM)
            both_forms(bytes(broken), 1_000_000)
        except (DamagedImage, UnsupportedImage, ImageTooLarge):
            continue


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_counted_before_they_are_decoded(name: str) -> None:
    """The second half of the file is nonsense, and yet it is its size that is wrong with it."""
    data = FILES[name]
    nonsense = data if name.startswith("TIFF") else data[: len(data) // 2 + 200].ljust(len(data), b"\x55")

    with pytest.raises(ImageTooLarge) as caught:
        to_tensor(nonsense, HOW, 120 * 80 - 1)

    assert caught.value.detail == "The image has 120 x 80 pixels; 9599 are allowed."
    assert caught.value.members == {"limit": 9599, "unit": "pixels"}


def _with_size(data: bytes, at: int, form: str, *size: int | bytes) -> bytes:
    return data[:at] + struct.pack(form, *size) + data[at + struct.calcsize(form) :]


def _tiff(*entries: tuple[int, int, int, int]) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + bytes(4)


_WIDE_TIFF = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
_GIF = FILES["GIF"]
_FRAME = _GIF.index(b",", 13 + 3 * 256)

BOMBS = {
    "JPEG": _with_size(FILES["JPEG"], FILES["JPEG"].index(b"\xff\xc0") + 5, ">HH", 60_000, 60_000),
    "PNG": png((60_000, 60_000), 8, 2, b""),
    "GIF canvas": _with_size(_GIF, 6, "<HH", 60_000, 60_000),
    "WebP": _with_size(FILES["WebP"], 26, "<HH", 16_383, 16_383),
    "WebP lossless": _with_size(FILES["WebP lossless"], 21, "<I", 0x0FFFFFFF),
    "WebP canvas": _with_size(FILES["WebP with metadata"], 24, "<6s", b"\xff\x3f\0\xff\x3f\0"),
    "BMP": _with_size(FILES["BMP"], 18, "<ii", 60_000, 60_000),
    "TIFF": _tiff(*_WIDE_TIFF, (277, 3, 1, 1), (278, 4, 1, 60_000), (279, 4, 1, 100)),
    "AVIF": _with_size(FILES["AVIF"], FILES["AVIF"].index(b"ispe") + 8, ">II", 16_000, 16_000),
    "HEIC": _with_size(FILES["HEIC"], FILES["HEIC"].index(b"ispe") + 8, ">II", 16_000, 16_000),
}


@only_linux
@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_that_promise_billions_of_pixels_cost_nothing(name: str) -> None:
    def refused() -> None:
        with pytest.raises(ImageTooLarge, match="50000000 are allowed"):
            to_tensor(BOMBS[name], HOW, ENOUGH)

    assert peak_megabytes(refused) < 10


@only_linux
def test_a_gif_whose_frame_is_larger_than_its_canvas_is_measured_by_the_frame() -> None:
    data = _with_size(_GIF, _FRAME + 5, "<HH", 60_000, 60_000)

    def refused() -> None:
        with pytest.raises(ImageTooLarge):
            to_tensor(data, HOW, ENOUGH)

    assert peak_megabytes(refused) < 10


def _overlapping(order: str = "<") -> bytes:
    """Metadata whose thousands of tags each point at nearly all of it: read in full, it grows to gigabytes."""
    count, size = 5000, 64_000
    entries = b"".join(struct.pack(f"{order}HHII", 40_000 + tag, 1, size - 100, 50) for tag in range(count))
    return (b"II*\0\x08\0\0\0" + struct.pack(f"{order}H", count) + entries + bytes(4)).ljust(size, b"\0")


def _exif_in_jpeg() -> bytes:
    data, exif = FILES["JPEG"], b"Exif\0\0" + _overlapping()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def _metadata_bombs() -> dict[str, bytes]:
    packed = zlib.compress(bytes(50_000_000), 9)
    return {
        "EXIF in JPEG": _exif_in_jpeg(),
        "EXIF in PNG": file(PICTURE, "PNG", exif=b"Exif\0\0" + _overlapping()),
        "EXIF in WebP": file(PICTURE, "WEBP", exif=b"Exif\0\0" + _overlapping()),
        "profile in PNG": png((8, 8), 8, 0, bytes(72), (b"iCCP", b"x\0\0" + packed)),
        "text in PNG": png((8, 8), 8, 0, bytes(72), (b"zTXt", b"x\0\0" + packed)),
        "international text in PNG": png((8, 8), 8, 0, bytes(72), (b"iTXt", b"x\0\x01\0\0\0" + packed)),
        "tags of TIFF": _overlapping(),
        "comment in GIF": _GIF[:781] + b"!\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0" + _GIF[781:],
    }


@only_linux
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on each tag that it skips
@pytest.mark.parametrize("name", _metadata_bombs())
def test_metadata_that_unpacks_to_gigabytes_costs_little(name: str) -> None:
    data = _metadata_bombs()[name]

    def read() -> None:
        try:
            forwardable(data, ENOUGH, ROOM)
            both_forms(data)
        except DamagedImage:
            pass

    assert peak_megabytes(read) < 40


def test_a_run_length_coded_bmp_is_read_while_it_is_small() -> None:
    def bmp(width: int, height: int, body: bytes) -> bytes:
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
        palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
        return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024) + header + palette + body

    assert to_tensor(bmp(40, 40, b"\x28\xff\0\0" * 40), HOW, ENOUGH).min() == 1
    with pytest.raises(UnsupportedImage, match="5000 x 1000 pixels; 4000000 are read"):
        to_tensor(bmp(5000, 1000, b"\x01\xff\0\0" * 1000), HOW, ENOUGH)


@only_linux
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"quality": 95}], ids=str)
def test_twelve_megapixels_of_jpeg_cost_less_than_twenty_megabytes(options: dict[str, int]) -> None:
    large = lying(plain("coffee").resize((4000, 3000)), 6, "JPEG", **options)
    both_forms(FILES["JPEG"])

    assert peak_megabytes(lambda: to_tensor(large, Preprocessing(), ENOUGH)) < 20
    assert peak_megabytes(lambda: to_file(large, Preprocessing(), ENOUGH, ROOM)) < 20


def test_heif_without_its_package_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    with pytest.raises(
        UnsupportedImage, match="HEIF is not read here, since the gateway's package pillow-heif"
    ) as caught:
        to_tensor(FILES["HEIC"], HOW, ENOUGH)
    assert isinstance(caught.value, GatewayError)
    to_tensor(FILES["AVIF"], HOW, ENOUGH)  # which needs no such package


def test_rare_decoders_are_not_imported_for_a_jpeg() -> None:
    """Each costs milliseconds at a cold start, pillow-heif 90."""
    program = (
        "import sys; from shared.scoring import images; from shared.settings import Preprocessing\n"
        "images.to_tensor(sys.stdin.buffer.read(), Preprocessing(), 10**6)\n"
        "print(*(name for name in ('pillow_heif', 'PIL.ImageCms', 'PIL.TiffImagePlugin') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], input=FILES["JPEG"], capture_output=True, check=True)

    assert done.stdout.split() == []


def test_a_file_of_one_format_within_another_is_read_as_what_it_begins_with() -> None:
    with Image.open(io.BytesIO(to_file(FILES["GIF"] + FILES["PNG"], HOW, ENOUGH, ROOM))) as made:
        assert made.format == "PNG"
