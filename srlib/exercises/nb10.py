"""Exercises: evaluation."""

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image

__all__ = ["EXERCISES"]


# Two ways to average


def _from_mse(mse):
    return float(10 * np.log10(255**2 / mse))


def _mean_psnr(errors):
    return float(np.mean([_from_mse(np.mean(error**2)) for error in errors]))


def _two_means(errors):
    return _mean_psnr(errors), _from_mse(np.mean(np.concatenate([e.ravel() for e in errors]) ** 2))


def _error_images(*shapes_and_sizes):
    generator = np.random.default_rng(10)
    return [generator.normal(0, sigma, shape) for shape, sigma in shapes_and_sizes]


_TWO_MEANS = Exercise(
    title="two ways to average",
    reference=_two_means,
    cases=lambda: (
        Case("an easy and a hard image of one size", (_error_images(((8, 8), 2), ((8, 8), 20)),)),
        Case(
            "a large easy one and a small hard one", (_error_images(((16, 12), 3), ((4, 5), 25)),)
        ),
        Case("three images", (_error_images(((6, 7), 4), ((9, 5), 9), ((8, 3), 6)),)),
    ),
    mistakes=(
        Mistake(
            lambda errors: _two_means(errors)[::-1],
            "The two numbers are there, in the wrong order: the mean of the PSNRs comes first.",
        ),
        Mistake(
            lambda errors: (
                _mean_psnr(errors),
                _from_mse(np.mean([np.mean(error**2) for error in errors])),
            ),
            "The second number averages one error per image, so a small image counts as much as "
            "a large one. Pooled means that every pixel counts alike.",
        ),
        Mistake(
            lambda errors: (_mean_psnr(errors), _mean_psnr(errors)),
            "Both numbers are the mean of the PSNRs. The second takes the logarithm once, after "
            "all pixels are in one mean.",
        ),
        Mistake(
            lambda errors: (_two_means(errors)[1], _two_means(errors)[1]),
            "Both numbers are pooled. The first takes a logarithm for each image, then the mean.",
        ),
        Mistake(
            lambda errors: (
                float(np.mean([_from_mse(np.mean(np.abs(error)) ** 2) for error in errors])),
                _from_mse(np.mean(np.abs(np.concatenate([e.ravel() for e in errors]))) ** 2),
            ),
            "This averages absolute errors. The E in MSE is squared before the mean.",
        ),
        Mistake(
            lambda errors: tuple(value / 2 for value in _two_means(errors)),
            "Half of what it should be. With the MSE the factor is 10 and the peak is squared.",
        ),
        Mistake(
            lambda errors: tuple(value * 2 for value in _two_means(errors)),
            "Twice what it should be. The factor 20 goes with the root of the MSE; with the MSE it "
            "is 10.",
        ),
        Mistake(
            lambda errors: tuple(value - 10 * np.log10(255) for value in _two_means(errors)),
            "The peak is not squared. To a mean of squares belongs 255**2.",
        ),
        Mistake(
            lambda errors: tuple(value * np.log(10) for value in _two_means(errors)),
            "This takes the natural logarithm. Decibels need np.log10.",
        ),
    ),
    hints=(
        "Both start from squared errors. They differ in what comes first, mean or logarithm.",
        "First: a PSNR for each image, then np.mean. Second: all squared errors in one long row "
        "(np.concatenate of error.ravel()), one mean, one logarithm.",
        "10 * np.log10(255**2 / np.mean(error**2)) is the PSNR of one image, and of the long row.",
    ),
)


# The paired difference


def _paired_difference(scores_a, scores_b):
    differences = np.asarray(scores_a, float) - np.asarray(scores_b, float)
    return float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)


def _with_spread(spread):
    """Make a mistake that gets the mean right and the standard error wrong."""
    return lambda scores_a, scores_b: (
        _paired_difference(scores_a, scores_b)[0],
        float(spread(np.asarray(scores_a, float), np.asarray(scores_b, float))),
    )


_SCORES_A = np.array([31.9, 29.7, 29.8, 35.2, 24.1])
_SCORES_B = np.array([31.2, 30.0, 29.1, 34.0, 23.9])

_PAIRED_DIFFERENCE = Exercise(
    title="paired difference",
    reference=_paired_difference,
    cases=lambda: (
        Case("five images", (_SCORES_A, _SCORES_B)),
        Case("the second one is better", (_SCORES_B[:4], _SCORES_A[:4])),
        Case("two images", (np.array([30.0, 28.0]), np.array([29.5, 27.9]))),
    ),
    mistakes=(
        Mistake(
            lambda scores_a, scores_b: _paired_difference(scores_b, scores_a),
            "The sign is the other way round: a minus b, so that more is better for a.",
        ),
        Mistake(
            _with_spread(lambda a, b: (a - b).std(ddof=1)),
            "The second number is the spread of single differences. The mean of n of them is "
            "surer than that, by a factor of the root of n.",
        ),
        Mistake(
            _with_spread(lambda a, b: (a - b).std() / len(a) ** 0.5),
            "np.std divides by n. The mean was estimated from the same n numbers, so divide by "
            "n - 1: ddof=1.",
        ),
        Mistake(
            _with_spread(lambda a, b: (a - b).std()),
            "Two things about the spread: np.std divides by n, where n - 1 is needed (ddof=1), and "
            "the root of the number of images is missing.",
        ),
        Mistake(
            _with_spread(lambda a, b: ((a.var(ddof=1) + b.var(ddof=1)) / len(a)) ** 0.5),
            "The spread is computed from each list by itself, as if they were scores of different "
            "images. Subtract image by image first, then take the spread.",
        ),
        Mistake(
            _with_spread(lambda a, b: (a - b).std(ddof=1) / len(a)),
            "The spread is divided by the number of images. Divide by its root.",
        ),
        Mistake(
            _with_spread(lambda a, b: (a - b).var(ddof=1) / len(a)),
            "This is the square of the standard error: the variance, where the deviation is asked.",
        ),
        Mistake(
            lambda scores_a, scores_b: (
                float(np.abs(scores_a - scores_b).mean()),
                float(np.abs(scores_a - scores_b).std(ddof=1) / len(scores_a) ** 0.5),
            ),
            "The differences lost their signs. An image on which a is worse must count against it.",
        ),
    ),
    hints=(
        "One difference for each image, a minus b. All else is about these numbers.",
        "The standard error of a mean: the standard deviation (ddof=1) over the root of n.",
        "d = scores_a - scores_b; return d.mean(), d.std(ddof=1) / len(d) ** 0.5",
    ),
)


# The self-ensemble

_ALL_EIGHT = tuple((turns, flip) for flip in (False, True) for turns in range(4))


def _turned(image, turns, flip):
    return np.rot90(np.flip(image, axis=1) if flip else image, turns)


def _turned_back(image, turns, flip):
    image = np.rot90(image, -turns)
    return np.flip(image, axis=1) if flip else image


def _ensemble(upscaler, image, *, ways=_ALL_EIGHT, back=_turned_back, average=np.mean):
    outputs = [back(upscaler(_turned(image, *way)), *way) for way in ways]
    return average(np.stack([np.asarray(output, float) for output in outputs]), axis=0)


def _rounded_first(upscaler, image):
    return _ensemble(lambda turned: np.floor(upscaler(turned) + 0.5), image)


def _rounded_last(upscaler, image):
    return np.clip(np.floor(_ensemble(upscaler, image) + 0.5), 0, 255).astype(np.uint8)


def _turned_further(image, turns, flip):
    image = np.rot90(image, turns)
    return np.flip(image, axis=1) if flip else image


def _back_in_wrong_order(image, turns, flip):
    return np.rot90(np.flip(image, axis=1) if flip else image, -turns)


def _slanted_upscaler(image):
    """Enlarge by 2, with a ghost a knight's move away: eight ways, eight different outputs."""
    large = image.astype(float).repeat(2, axis=0).repeat(2, axis=1)
    large[1:, 2:] = 0.7 * large[1:, 2:] + 0.3 * large[:-1, :-2]
    return large


def _uneven_upscaler(image):
    """Enlarge by 2, and darken towards the right end of each row."""
    large = image.astype(float).repeat(2, axis=0).repeat(2, axis=1)
    return large * np.linspace(1, 0.8, large.shape[1])[None, :, None]


def _threefold_upscaler(image):
    """Enlarge by 3, with a ghost a knight's move away."""
    large = image.astype(float).repeat(3, axis=0).repeat(3, axis=1)
    large[2:, 1:] = 0.7 * large[2:, 1:] + 0.3 * large[:-2, :-1]
    return large


_SELF_ENSEMBLE = Exercise(
    title="self-ensemble",
    reference=lambda upscaler, image: _ensemble(upscaler, image),
    tolerance=1e-4,
    cases=lambda: (
        Case("a square image", (_slanted_upscaler, noise_image(5, 5))),
        Case("an image that is not square", (_slanted_upscaler, noise_image(4, 7, seed=1))),
        Case("another upscaler", (_uneven_upscaler, noise_image(6, 5, seed=2))),
        Case("an upscaler by 3", (_threefold_upscaler, noise_image(4, 5, seed=3))),
    ),
    mistakes=(
        Mistake(
            lambda upscaler, image: _ensemble(upscaler, image, ways=_ALL_EIGHT[:4]),
            "These are the four turns. Each of them also exists mirrored, which makes eight. "
            "np.flip over two axes, or over all, is a half turn and no mirror: give one axis.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(
                upscaler, image, ways=((0, False), (2, False), (0, True), (2, True))
            ),
            "These are the two flips and both together: four ways. Transposed pictures, turned by "
            "90 degrees, are missing.",
        ),
        Mistake(
            lambda upscaler, image: np.asarray(upscaler(image), float),
            "This is the upscaler's output for the picture as it came. Seven others are missing.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(
                upscaler, image, back=lambda output, turns, flip: output
            ),
            "The outputs are not turned back, so eight different pictures lie over each other.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(upscaler, image, back=_turned),
            "The way back repeats the way there. Turn in the other direction, and undo the steps "
            "in the reverse order.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(upscaler, image, back=_back_in_wrong_order),
            "The steps are undone in the order in which they were done. The last step is the first "
            "to be undone.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(upscaler, image, back=_turned_further),
            "The outputs are turned in the direction in which the image was turned already. Turn "
            "them back: by -turns.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(upscaler, image, average=np.sum),
            "This is the sum of the eight outputs. The mean is asked.",
        ),
        Mistake(
            lambda upscaler, image: _ensemble(upscaler, image, average=np.median),
            "This is the median. The self-ensemble takes the mean.",
        ),
        Mistake(
            _rounded_first,
            "Each output is rounded before the mean. Keep the fractions until the end.",
        ),
        Mistake(
            _rounded_last,
            "The mean is rounded to uint8. Here it stays in floating point; rounding belongs to "
            "the protocol.",
        ),
    ),
    hints=(
        "Three steps for each of the eight ways: turn the picture, enlarge it, turn the result "
        "back. Then one mean.",
        "np.rot90(image, turns) for turns 0 to 3, of the image and of np.flip(image, axis=1). "
        "np.rot90(output, -turns) turns back.",
        "Flip, turn, enlarge, turn back, flip back: the way back has the reverse order. "
        "np.mean(outputs, axis=0) at the end.",
    ),
)

# Find the bug: what is independent


def _error_over_seeds(scores_a, scores_b):
    return _paired_difference(scores_a.mean(axis=0), scores_b.mean(axis=0))


def _with_error(error_of):
    """Make an answer with the right mean and another standard error, of the differences."""
    return lambda scores_a, scores_b: (
        float((scores_a - scores_b).mean()),
        float(error_of(scores_a - scores_b)),
    )


def _seed_scores(crops, seeds, seed):
    random = np.random.default_rng(seed)
    level, luck = random.normal(28, 4, (crops, 1)), random.normal(0, 0.3, (1, seeds))
    return level + luck + random.normal(0, 0.1, (crops, seeds))


_ERROR_OVER_SEEDS = Exercise(
    title="find the bug: what is independent",
    reference=_error_over_seeds,
    cases=lambda: (
        Case("6 crops, 3 seeds", (_seed_scores(6, 3, 1), _seed_scores(6, 3, 2))),
        Case("3 crops, 5 seeds", (_seed_scores(3, 5, 3), _seed_scores(3, 5, 4))),
        Case("4 crops, 4 seeds", (_seed_scores(4, 4, 5), _seed_scores(4, 4, 6))),
    ),
    mistakes=(
        Mistake(
            _with_error(lambda d: d.std(ddof=1) / d.size**0.5),
            "All differences are still taken for independent. Another seed moves all crops "
            "together: average over the crops first.",
        ),
        Mistake(
            _with_error(lambda d: d.mean(axis=1).std(ddof=1) / len(d) ** 0.5),
            "This is the error over crops: what if the pictures had been others? Average over the "
            "crops, which are the rows, and take the spread over the seeds.",
        ),
        Mistake(
            _with_error(lambda d: d.mean(axis=0).std(ddof=1) / d.size**0.5),
            "The spread is over seeds, but it is divided by the root of the number of all "
            "differences. How many independent ones are there?",
        ),
        Mistake(
            _with_error(lambda d: d.mean(axis=0).std() / d.shape[1] ** 0.5),
            "np.std divides by n; with so few seeds that matters. Take ddof=1.",
        ),
        Mistake(
            _with_error(lambda d: d.mean(axis=0).std(ddof=1)),
            "This is the spread of one training. The mean of n of them is surer, by the root of n.",
        ),
        Mistake(
            _with_error(lambda d: (d.std(axis=1, ddof=1) / d.shape[1] ** 0.5).mean()),
            "This is the mean of the crops' own errors. Part of the luck of a seed differs from "
            "crop to crop and averages out: average over the crops first.",
        ),
        Mistake(
            lambda scores_a, scores_b: (
                float((scores_a - scores_b).mean()),
                float(
                    (
                        (scores_a.mean(0).var(ddof=1) + scores_b.mean(0).var(ddof=1))
                        / scores_a.shape[1]
                    )
                    ** 0.5
                ),
            ),
            "The two networks are no longer paired. For one seed both saw the same patches: "
            "subtract first.",
        ),
    ),
    hints=(
        "If you trained again, which of the 18 numbers would change together?",
        "The mean over the crops leaves one difference for each seed.",
        "d = (scores_a - scores_b).mean(axis=0); then as in exercise 10.2",
    ),
)


EXERCISES: tuple[Exercise, ...] = (
    _TWO_MEANS,
    _PAIRED_DIFFERENCE,
    _SELF_ENSEMBLE,
    _ERROR_OVER_SEEDS,
)
