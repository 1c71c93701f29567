"""How good are the answers? fastnn and its rivals on real data sets that come inside packages.

``python -m benchmarks.quality`` runs what is missing and prints the tables. docs/quality.md says what is measured.

=============  ==================================================================
`dataset`      what a data set is; `sets` lists all of them
`halves`       which of them are for choosing defaults, and which for reporting
`loading`      from a package's files to a frame; `splits` has the rows of a split
`entrants`     who takes part: `trees`, `tuned`, `arrays` and `ours` fit them
`columns`      what several entrants do with a frame before they learn
`measures`     log-loss, AUC, accuracy, RMSE, R²
`trial`        one entrant on one split; `worker` is the process it runs in
`run`          all trials, one after another; `results` is the file they go to
`scores`       ranks, win rates, Elo and intervals, of any losses
`standings`    from the file of results to arrays of losses
`report`       tables in Markdown; `plots` draws them
=============  ==================================================================
"""
