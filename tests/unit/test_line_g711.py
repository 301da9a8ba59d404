import numpy as np
import pytest

from plugins.line import g711
from plugins.line.upsample import Doubler
from tests.line_sounds import chain, silence, tone


@pytest.mark.parametrize(
    ("law", "sample", "code", "level"),
    [
        ("ulaw", 0, 0xFF, 0),
        ("ulaw", -1, 0x7F, 0),
        ("ulaw", 4, 0xFE, 8),
        ("ulaw", 1000, 0xCE, 988),
        ("ulaw", -1000, 0x4E, -988),
        ("ulaw", 32767, 0x80, 32124),
        ("ulaw", -32768, 0x00, -32124),
        ("alaw", 0, 0xD5, 8),
        ("alaw", -1, 0x55, -8),
        ("alaw", 1000, 0xFA, 1008),
        ("alaw", -1000, 0x7A, -1008),
        ("alaw", 32767, 0xAA, 32256),
        ("alaw", -32768, 0x2A, -32256),
    ],
)
def test_known_values(law, sample, code, level):
    encoded = g711.encode(np.array([sample], np.int16), law)
    assert encoded == bytes([code])
    assert g711.decode(encoded, law)[0] == level


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_every_code_survives_the_round_trip(law):
    codes = bytes(range(256))
    levels = g711.decode(codes, law)
    assert np.array_equal(g711.decode(g711.encode(levels, law), law), levels)


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
@pytest.mark.parametrize("dbfs", [-6.0, -20.0, -35.0])
def test_speech_levels_keep_33_db_over_the_quantisation(law, dbfs):
    clean = tone(1.0, dbfs).astype(float)
    error = g711.decode(g711.encode(clean.astype(np.int16), law), law) - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(error**2)) > 33


def test_doubling_is_one_millisecond_late_and_clean():
    sound = chain(silence(0.1), tone(0.9, hertz=1000.0))
    doubler = Doubler()
    doubled = np.concatenate([doubler.push(sound[i : i + 160]) for i in range(0, 8000, 160)])
    assert len(doubled) == 16000
    assert np.argmax(np.abs(doubled) > 4000) / 16000 == pytest.approx(0.101, abs=0.0005)
    spectrum = np.abs(np.fft.rfft(doubled[8000:].astype(float) * np.hanning(8000)))
    assert spectrum[500] > 300 * spectrum[3400:].max()  # 1 kHz against its image at 7 kHz
