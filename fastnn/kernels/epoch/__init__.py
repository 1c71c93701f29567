"""Training: what compiled code does in one call, for every kind of network.

============  ======================================================================================
module        contents
============  ======================================================================================
`run`         what a call reads and writes (`Run`), and which samples a mini-batch consists of
`frame`       what happens before, between and after the phases of a batch, and the phase of the rows
`hidden`      hidden layers during training: activations, stored slopes, dropout, and the way back (B4)
`heads`       output layers: softmax, softmax with smoothed labels, logistic, identity, exp
`weights`     the step (U1), the transposed weights, the squares for the penalty
`panels`      the program of plain networks: B2 and U1 while a tile of gradients is in registers
`general`     the program of all others: B2, clipping, then U1
`sparse`      the program of sparse samples: `general` with another first layer
`normalised`  the programs of networks whose hidden layers are normalised
`lanes`       the program of narrow plain networks
`members`     many networks at once, by any of these programs
`team`        threads that work through phases together
============  ======================================================================================

`fastnn.kernels.programs` chooses among the programs.

Glossary
--------
run
    A call of compiled code: some mini-batches of some epochs, one after the other.
batch
    The samples of one step, neighbours in the epoch's order.
block
    Some rows of a batch that go through all layers together, while their numbers are in cache.
phase
    A stage of a batch that ends before the next begins: first the rows, then the features, and so on.
chunk
    A piece of a phase, which one thread takes from a counter and works on alone.
part
    The share of the work that belongs to one chunk, or to one thread. Parts never write to the same place, so neither
    their number nor their order shows in a result.
worker
    A thread, by its number. It has a piece of scratch memory of its own.
member
    A network of an ensemble.
slot
    A number that a solver remembers for each parameter: a velocity, or one of Adam's two moments.
rows and features
    In the first phase a part is some samples (rows of X), in the second some features (rows of W).
samples in the lanes
    Unit j of neighbouring samples lies in neighbouring lanes of a vector. This suits layers that are too narrow to
    fill a vector with the units of one sample.
"""
