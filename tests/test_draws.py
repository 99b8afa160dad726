"""The random draws: Philox itself against published vectors, and what every user of them relies on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from trainer.draws import Draws, philox4x32

KNOWN_ANSWERS = [
    # kat_vectors of Random123 1.14: counter, key, output
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter: str, key: str, output: str) -> None:
    k0, k1 = words(key)
    assert philox4x32(np.array(words(counter), dtype=np.uint64), (k0, k1)).tolist() == words(output)


def test_philox_agrees_with_a_word_by_word_computation() -> None:
    def one(counter: list[int], key: list[int]) -> list[int]:
        for _ in range(10):
            high0, low0 = divmod(counter[0] * 0xD2511F53, 2**32)
            high1, low1 = divmod(counter[2] * 0xCD9E8D57, 2**32)
            counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
            key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
        return counter

    counters = np.random.default_rng(0).integers(0, 2**32, (5, 3, 4), dtype=np.uint64)
    drawn = philox4x32(counters, (123456789, 4000000000))
    assert drawn.shape == counters.shape
    for place in itertools.product(range(5), range(3)):
        assert drawn[place].tolist() == one(counters[place].tolist(), [123456789, 4000000000])


class TestUniform:
    @pytest.mark.parametrize("count", [1, 3, 4, 5, 11])
    def test_each_sample_has_a_row_and_more_columns_leave_the_first_as_they_were(self, count: int) -> None:
        draws, samples = Draws(7, 2), np.arange(20)
        rows = draws.uniform("crop", samples, count)
        assert rows.shape == (20, count)
        assert rows.dtype == np.float64
        assert np.array_equal(rows, draws.uniform("crop", samples, 12)[:, :count])

    @pytest.mark.parametrize("draws", [Draws(0), Draws(0, 1), Draws(1, 1), Draws(2**40 + 3, 90)])
    def test_the_numbers_are_uniform_along_samples_and_along_columns(self, draws: Draws) -> None:
        assert stats.kstest(draws.uniform("flip", np.arange(20_000))[:, 0], "uniform").pvalue > 1e-3
        assert stats.kstest(draws.uniform("flip", np.array([5]), 20_000)[0], "uniform").pvalue > 1e-3

    def test_the_numbers_are_uniform_along_epochs_and_along_seeds(self) -> None:
        sample = np.array([3])
        epochs = [Draws(0, epoch).uniform("flip", sample)[0, 0] for epoch in range(3000)]
        seeds = [Draws(seed, 1).uniform("flip", sample)[0, 0] for seed in range(3000)]
        assert stats.kstest(epochs, "uniform").pvalue > 1e-3
        assert stats.kstest(seeds, "uniform").pvalue > 1e-3

    def test_neighbours_are_uncorrelated(self) -> None:
        numbers = Draws(11, 4).uniform("crop", np.arange(20_000), 2)
        for one, other in [(numbers[:-1, 0], numbers[1:, 0]), (numbers[:, 0], numbers[:, 1])]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(20_000)

    def test_neither_end_of_the_interval_is_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for word in (0, 0xFFFFFFFF):
            extreme = np.full((1, 1, 4), word, dtype=np.uint64)
            monkeypatch.setattr("trainer.draws.philox4x32", lambda counter, key, words=extreme: words)
            number = Draws(0).uniform("flip", np.array([0]))[0, 0]
            assert 0.0 < number < 1.0

    def test_a_sample_draws_the_same_in_any_batch(self) -> None:
        draws = Draws(3, 5)
        everything = draws.uniform("mixup", np.arange(100), 3)
        shuffled = np.random.default_rng(0).permutation(100)
        assert np.array_equal(draws.uniform("mixup", shuffled, 3), everything[shuffled])
        for sample in (0, 41, 99):
            assert np.array_equal(draws.uniform("mixup", np.array([sample]), 3)[0], everything[sample])

    def test_what_was_drawn_before_does_not_matter(self) -> None:
        draws, samples = Draws(3, 5), np.arange(10)
        first = draws.uniform("flip", samples)
        np.random.default_rng(0).random(5)
        draws.uniform("crop", samples)
        assert np.array_equal(first, draws.uniform("flip", samples))
        assert np.array_equal(first, Draws(3, 5).uniform("flip", samples))

    def test_seed_epoch_purpose_and_sample_each_change_every_number(self) -> None:
        samples = np.arange(50)
        variants = {
            "as it is": Draws(1, 1).uniform("flip", samples),
            "another seed": Draws(2, 1).uniform("flip", samples),
            "a seed that differs above 32 bits": Draws(1 + 2**32, 1).uniform("flip", samples),
            "another epoch": Draws(1, 2).uniform("flip", samples),
            "another purpose": Draws(1, 1).uniform("crop", samples),
            "other samples": Draws(1, 1).uniform("flip", samples + 50),
        }
        assert len(np.unique(variants["as it is"])) == 50
        for one, other in itertools.combinations(variants, 2):
            assert not np.any(variants[one] == variants[other]), f"{one} draws like {other}"

    def test_no_samples_draw_nothing(self) -> None:
        assert Draws(0).uniform("flip", np.arange(0), 3).shape == (0, 3)


class TestPermutation:
    @pytest.mark.parametrize("size", [0, 1, 2, 257])
    def test_it_holds_every_index_once(self, size: int) -> None:
        order = Draws(5, 1).permutation("order", size)
        assert order.dtype == np.int64
        assert sorted(order) == list(range(size))

    def test_every_order_of_four_is_about_as_frequent(self) -> None:
        orders = [tuple(Draws(seed, epoch).permutation("order", 4)) for seed in range(60) for epoch in range(40)]
        counts = [orders.count(order) for order in itertools.permutations(range(4))]
        assert sum(counts) == 2400
        assert stats.chisquare(counts).pvalue > 1e-3

    def test_epochs_and_seeds_differ_and_repeat(self) -> None:
        assert not np.array_equal(Draws(0, 1).permutation("order", 30), Draws(0, 2).permutation("order", 30))
        assert not np.array_equal(Draws(0, 1).permutation("order", 30), Draws(1, 1).permutation("order", 30))
        assert np.array_equal(Draws(0, 1).permutation("order", 30), Draws(0, 1).permutation("order", 30))


class TestTorchSeed:
    def test_it_fits_torchs_generators_and_uses_their_range(self) -> None:
        import torch

        seeds = [Draws(seed, epoch).torch_seed("dropout") for seed in range(30) for epoch in range(30)]
        assert all(0 <= seed < 2**63 for seed in seeds)
        assert stats.kstest(np.array(seeds) / 2.0**63, "uniform").pvalue > 1e-3
        torch.Generator().manual_seed(max(seeds))

    def test_each_seed_epoch_and_purpose_has_its_own(self) -> None:
        found = {
            Draws(seed, epoch).torch_seed(purpose)
            for seed in (0, 1, 2**32, 2**33 + 1)
            for epoch in range(10)
            for purpose in ("weights", "dropout")
        }
        assert len(found) == 4 * 10 * 2
