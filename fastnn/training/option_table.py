"""Every option of training in one table: what it accepts, what it means, its name and default in each interface.

`TrainOptions` and the estimators take their checks from the table, the command line its help and its choices. The
signatures and docstrings of all interfaces are written out, for readers and editors. A test holds them against the
table, and ``python tools/option_docs.py`` writes the docstrings anew from it.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import cache
from typing import Any

from fastnn.kernels.equations.activation import CODES as ACTIVATIONS
from fastnn.training.option import NONE, Accepted, Choice, Flag, Option, Other, Real, Use, Whole, option


class Interface(Enum):
    """The places where options are given."""

    TRAIN = "fastnn.train and TrainOptions"
    CLASSIFIER = "MLPClassifier"
    REGRESSOR = "MLPRegressor"
    FIT = "fit of both estimators"
    PLAN = "fastnn.pipeline.Plan"
    COMMAND_LINE = "fastnn train"


TRAIN, CLASSIFIER, REGRESSOR, FIT, PLAN, COMMAND_LINE = Interface


def _estimators(default: Any, name: str = "", **further: Any) -> dict[Interface, Use]:
    return dict.fromkeys((CLASSIFIER, REGRESSOR), Use(default, name, **further))


_FRACTION = Real(0, 1)

OPTIONS: dict[str, Option] = {
    # The network.
    "hidden_layer_sizes": option(
        (Whole(1), Other("array_like of int", ("array-like",))),
        "The number of units in each hidden layer.",
        {
            **_estimators((100,)),
            PLAN: Use((128,), "hidden", accepts=(Other("tuple of int"),)),
            COMMAND_LINE: Use("128", "hidden", "For example 128,64; 0 means no hidden layer.", (Other("str"),)),
        },
    ),
    "activation": option(
        (Choice(tuple(ACTIVATIONS)), Other("sequence", ("array-like",))),
        "The activation function of the hidden layers.",
        {
            **_estimators("tanh", note="A sequence names one for each hidden layer."),
            PLAN: Use("tanh", accepts=(Choice(tuple(ACTIVATIONS)),)),
            COMMAND_LINE: "tanh",
        },
    ),
    "layer_norm": option(
        Flag(),
        "Whether to normalise the inputs of each hidden layer's activation, for each sample over the layer's units.",
        {**_estimators(False), PLAN: False, COMMAND_LINE: False},
        "The result is multiplied by a trained gain for each unit before the unit's bias is added.",
    ),
    "n_ensemble": option(
        Whole(1),
        "The number of networks to train.",
        {**_estimators(1), PLAN: Use(1, "ensemble"), COMMAND_LINE: Use(1, "ensemble", "Their outputs are averaged.")},
        "Several networks are trained at the same time. They differ in their seed (the seed that is given, the one "
        "after it, and so on), and their outputs are averaged.",
    ),
    "n_bins": option(
        Whole(0),
        "The most bins of each number's piecewise-linear encoding; 0 for none.",
        {
            PLAN: Use(0, "bins"),
            COMMAND_LINE: Use(0, "bins", "In each bin the network learns a slope of its own."),
        },
        "The bins have the same number of rows. Each makes an input, which rises from 0 to 1 over the bin, so that the "
        "network learns a slope of its own in each (Gorishniy, Rubachev and Babenko 2022).",
    ),
    "dtype": option(
        Choice(("float32", "float64")),
        "The number format of weights and arithmetic.",
        {**_estimators("float32"), PLAN: "float32", COMMAND_LINE: "float32"},
    ),
    # The solver.
    "solver": option(
        Choice(("sgd", "adam", "adamw")),
        "The optimiser: stochastic gradient descent, Adam, or Adam with decoupled weight decay.",
        {
            TRAIN: "sgd",
            **_estimators("adam"),
            COMMAND_LINE: "adam",
        },
    ),
    "step_size": option(
        Real(0, closed="neither"),
        "The step size (learning rate).",
        {
            TRAIN: 0.1,
            **_estimators(0.002, "learning_rate_init", note="`learning_rate` may change it between epochs."),
            COMMAND_LINE: Use(1e-3, "learning_rate"),
        },
    ),
    "learning_rate": option(
        Choice(("constant", "invscaling", "adaptive", "cosine")),
        "The schedule of the step size.",
        {**_estimators("constant"), PLAN: Use("constant", "schedule"), COMMAND_LINE: Use("constant", "schedule")},
        '"invscaling" and "adaptive" are scikit-learn\'s, and have an effect with ``solver="sgd"`` only. With "cosine" '
        "and any solver, the step size falls along half a cosine to nothing over all epochs.",
    ),
    "power_t": option(
        Real(0),
        'The exponent of the schedule "invscaling".',
        {**_estimators(0.5), PLAN: 0.5, COMMAND_LINE: 0.5},
        "The step size is the first one divided by ``(number of samples seen + 1) ** power_t``.",
    ),
    "warmup_epochs": option(
        Whole(0),
        "The number of epochs in which the step size rises to the one that is given.",
        {**_estimators(0), PLAN: 0, COMMAND_LINE: 0},
    ),
    "momentum": option(
        Real(0, 1, "both"),
        'The momentum of ``solver="sgd"``: the share of the last step that is added to the next one.',
        {TRAIN: 0.0, **_estimators(0.9), COMMAND_LINE: 0.9},
    ),
    "nesterovs_momentum": option(
        Flag(),
        'Whether the momentum of ``solver="sgd"`` is Nesterov\'s.',
        {TRAIN: False, **_estimators(True), COMMAND_LINE: True},
    ),
    "beta_1": option(
        _FRACTION,
        'The decay rate of the mean of gradients in ``solver="adam"`` and "adamw".',
        {TRAIN: 0.9, **_estimators(0.9), COMMAND_LINE: 0.9},
    ),
    "beta_2": option(
        _FRACTION,
        'The decay rate of the mean of squared gradients in ``solver="adam"`` and "adamw".',
        {TRAIN: 0.999, **_estimators(0.999), COMMAND_LINE: 0.999},
    ),
    "epsilon": option(
        Real(0, closed="neither"),
        'The number that keeps the denominator of a step above 0 in ``solver="adam"`` and "adamw".',
        {TRAIN: 1e-8, **_estimators(1e-8), COMMAND_LINE: 1e-8},
    ),
    # The mini-batches.
    "batch_size": option(
        Whole(1),
        "The number of samples in a mini-batch.",
        {
            TRAIN: 256,
            **_estimators(
                "auto",
                note='"auto" is a fiftieth of the samples, but at least 32 and at most 200.',
                accepts=(Whole(1), Choice(("auto",))),
            ),
            PLAN: Use(
                None,
                note="None: 200, or all rows if there are fewer. The `batch_size` of `options` has no effect.",
                accepts=(Whole(1), NONE),
            ),
            COMMAND_LINE: Use("auto", note="auto: 200, or all rows if there are fewer.", accepts=(Other("str"),)),
        },
        "The last mini-batch of an epoch may be smaller. If one mini-batch holds all samples, they aren't shuffled.",
    ),
    "shuffle": option(
        Flag(),
        "Whether each epoch takes the samples in a new random order. Otherwise it takes them as they are given.",
        {TRAIN: True, **_estimators(True), COMMAND_LINE: True},
    ),
    "seed": option(
        Whole(0, 64),
        "The seed of the initial weights, the shuffle and the choice of held-out samples.",
        {
            TRAIN: Use(0, summary="The seed of the shuffle."),
            **_estimators(
                None, "random_state", accepts=(Other("int, RandomState instance or None", ("random_state",)),)
            ),
            COMMAND_LINE: 0,
        },
    ),
    # Regularisation.
    "alpha": option(
        Real(0),
        "The L2 penalty's strength.",
        {TRAIN: 0.0, CLASSIFIER: 0.1, REGRESSOR: 1e-4, COMMAND_LINE: 1e-4},
        "The penalty is ``alpha / 2 * sum(W**2)``, divided by the number of samples in the mini-batch.",
    ),
    "weight_decay": option(
        Real(0),
        'The weight decay of ``solver="adamw"``.',
        {TRAIN: 0.0, **_estimators(0.01), COMMAND_LINE: 0.01},
        "Each step first multiplies every weight (not the biases) by ``1 - step size * weight_decay``.",
    ),
    "dropout": option(
        _FRACTION,
        "The probability that the output of a hidden unit is left out (set to 0) for a training sample.",
        {TRAIN: 0.0, **_estimators(0.0), COMMAND_LINE: 0.0},
    ),
    "label_smoothing": option(
        _FRACTION,
        "The share of each target that is spread evenly over all classes.",
        {TRAIN: 0.0, CLASSIFIER: 0.0, COMMAND_LINE: 0.0},
    ),
    "clip_norm": option(
        (Real(0, closed="neither"), NONE),
        "The largest norm of a mini-batch's gradient. A longer gradient is scaled down to it.",
        {TRAIN: None, **_estimators(None), COMMAND_LINE: None},
        "None: gradients of any length are taken.",
    ),
    "class_weight": option(
        (Other("dict", (dict,)), Choice(("balanced",)), NONE),
        "The weights of the classes in the training loss, as in scikit-learn.",
        {
            CLASSIFIER: None,
            PLAN: None,
            COMMAND_LINE: Use(
                None, accepts=(Choice(("balanced",)), NONE), note="balanced: all classes weigh the same."
            ),
        },
        "They multiply the weights of the samples, also of those that are held out.",
    ),
    "loss": option(
        Choice(("squared_error", "poisson")),
        "The loss of a regression.",
        {REGRESSOR: "squared_error", PLAN: "squared_error", COMMAND_LINE: "squared_error"},
        '"squared_error" is half the squared error. "poisson" is half of the Poisson distribution\'s deviance, for '
        "counts and other values that are at least 0. The network's outputs are exponentials then.",
    ),
    # The end of training.
    "epochs": option(
        Whole(1),
        "The number of passes over the samples.",
        {
            TRAIN: Use(10, accepts=(Whole(0),)),
            **_estimators(200, "max_iter", note="Training may stop earlier; see `n_iter_no_change`."),
            PLAN: Use(50, note="With held-out rows, training may stop earlier."),
            COMMAND_LINE: Use(50, note="Training may stop earlier."),
        },
    ),
    "max_fun": option(
        Whole(1),
        "A parameter without effect, so that scikit-learn's `get_params` can be passed on.",
        _estimators(15000),
        'In scikit-learn it belongs to ``solver="lbfgs"``, which fastnn doesn\'t have.',
    ),
    "tol": option(
        Real(0),
        "The least improvement that counts.",
        {**_estimators(1e-4), PLAN: 1e-4, COMMAND_LINE: 1e-4},
        "An epoch whose loss (or score on held-out samples) improves by less than `tol` counts as no improvement.",
    ),
    "n_iter_no_change": option(
        (Whole(1), Other("inf", (math.inf,))),
        "Training stops after more than this many epochs in a row without an improvement.",
        {**_estimators(10), PLAN: 10, COMMAND_LINE: 10},
    ),
    "early_stopping": option(
        (Flag(), Choice(("auto",))),
        "Whether to stop when `scoring` on held-out samples no longer improves, and to keep the best epoch's weights.",
        _estimators("auto"),
        '"auto" does so in `fit` with a validation set or at least 300 samples, and never in `partial_fit`. '
        "After a call of `partial_fit` with early stopping, the network has the weights of the best epoch so far. The "
        "next call goes on from those of the last epoch.",
    ),
    "validation_fraction": option(
        _FRACTION,
        "The share of the samples that is held out for validation.",
        {
            **_estimators(0.1, note="It matters to `early_stopping` only, and not if `fit` is given a validation set."),
            PLAN: Use(
                0.1,
                "validation",
                "No more than about 200,000 rows are held out. Training stops when the loss on them no longer falls "
                "(see `n_iter_no_change`), and the best epoch's weights are kept. With 0, all rows are trained on for "
                "all epochs.",
            ),
            COMMAND_LINE: Use(
                0.1,
                "validation",
                "At most 200,000 rows. Training stops when the loss on them no longer falls. 0: none, and all epochs "
                "are run.",
            ),
        },
    ),
    "hold_out_by": option(
        (Other("str"), NONE),
        "A column of ids, which is then no feature: rows with the same id are held out together.",
        {PLAN: Use(None, note="By default rows are held out by their position."), COMMAND_LINE: None},
    ),
    "weight": option(
        (Other("str"), NONE),
        "A column of weights, which is then no feature: a row of weight 2 counts as two rows.",
        {PLAN: Use(None, note="By default all rows weigh the same."), COMMAND_LINE: None},
    ),
    "task": option(
        (Choice(("classification", "regression")), NONE),
        "What to learn of the target: its values as classes, or as numbers.",
        {
            PLAN: Use(None, note="By default floats and decimals are numbers, and all else is classes."),
            COMMAND_LINE: Use(None, note="By default floats and decimals are numbers, and all else is classes."),
        },
    ),
    "scoring": option(
        (Other("str", (str,)), Other("callable", (callable,)), NONE),
        "The measure that `early_stopping` watches.",
        {
            CLASSIFIER: Use(
                "loss", note='It is "loss", "accuracy" (None means the same), or another scorer of scikit-learn.'
            ),
            REGRESSOR: Use("loss", note='It is "loss", "r2" (None means the same), or another scorer of scikit-learn.'),
        },
    ),
    # The course of training.
    "buffer_rows": option(
        (Whole(1), NONE),
        "The number of rows that are in memory, and shuffled, at a time.",
        {
            PLAN: Use(None, note="It is rounded down to whole mini-batches."),
            COMMAND_LINE: Use(None, note="By default all rows if they take at most 512 MB, otherwise 128 MB of them."),
        },
        "By default all rows if the network's inputs take at most 512 MB, otherwise as many as take 128 MB.",
    ),
    "warm_start": option(Flag(), "Whether `fit` goes on from the weights of the last `fit`.", _estimators(False)),
    "verbose": option(
        Other("bool or int", ("verbose",)), "Whether to print the loss of each epoch.", _estimators(False)
    ),
    "n_threads": option(
        (Whole(1), NONE),
        "The most threads to use. The result is the same for any number.",
        {TRAIN: None, **_estimators(None), COMMAND_LINE: Use(None, "threads")},
        "None: all threads that the process may use.",
    ),
    "callbacks": option(
        Other("iterable of callable"),
        "Functions that are called with every finished `Epoch`; see `fastnn.callbacks`.",
        {TRAIN: (), FIT: Use((), note="Those of scikit-learn's `set_callbacks` are called, too.")},
        "Training stops when one of them returns something true.",
    ),
    "checkpoint": option(
        (Other("str"), Other("path-like"), NONE),
        "The file that keeps the progress.",
        {
            TRAIN: None,
            FIT: Use(None, note="Without a `random_state`, the seed is taken from the file."),
            COMMAND_LINE: Use(None, note="After a kill, the same command goes on from there."),
        },
        "After a kill, the same call with the same data goes on from there, and ends in the bytes of a training that "
        "wasn't interrupted.",
    ),
    "checkpoint_every": option(
        Whole(1), "The number of epochs from one checkpoint to the next.", {TRAIN: 1, FIT: 1, COMMAND_LINE: 1}
    ),
}


@cache
def options_of(interface: Interface) -> dict[str, tuple[Option, Use]]:
    """The options of an interface by their names in it."""
    return {
        each.uses[interface].name or name: (each, each.uses[interface])
        for name, each in OPTIONS.items()
        if interface in each.uses
    }


def accepted(interface: Interface, name: str) -> tuple[Accepted, ...]:
    """What an interface's option of this name accepts."""
    found, use = options_of(interface)[name]
    return use.accepts or found.accepts


# What `checked` needs of each option: its checks, and a text for the messages if None is accepted, too. It is found
# once, which saves 120 of the 570 calls of functions that a short training takes.
_checks: dict[Interface, dict[str, tuple[Any, str]]] = {
    interface: {
        name: (accepted(interface, name)[0], " or None" if NONE in accepted(interface, name) else "")
        for name in options_of(interface)
    }
    for interface in (TRAIN, PLAN)
}


def checked(name: str, value: Any, interface: Interface = TRAIN) -> Any:
    """An option of `fastnn.train` or of a `Plan` as a plain Python object.

    With NumPy's numbers the kernels would be compiled again. Raises a TypeError or a ValueError if the value isn't
    accepted.
    """
    accepts, or_none = _checks[interface][name]
    return None if value is None and or_none else accepts.checked(name, value, or_none)


def command_line_help(name: str) -> str:
    """The help of an option of ``fastnn train``."""
    found, use = options_of(COMMAND_LINE)[name]
    return f"{use.summary or found.summary} {use.note}".strip().replace("`", "")
