"""How good are the answers? fastnn and its rivals on real tables that come inside packages.

``python -m benchmarks.quality`` runs what is missing and prints the tables of results. docs/quality.md says what is
measured.

=============  ==================================================================================
`tables/`      `sets`: all data sets, as `dataset` describes one; `halves`: for choosing defaults or
               for reporting; `loading`: from a package's files to a frame; `splits`: rows to learn
               from and rows to test on
`entrants/`    `registry`: who takes part, as `entrant` describes one; `ours`, `trees`, `tuned` and
               `arrays` fit them; `columns`: what several of them do with a frame
`measures`     log-loss, AUC, accuracy, RMSE, R²
`trial`        one entrant on one split; `worker` is the process that it runs in
`run`          all trials, one after another; `results` is the file that they go to
`scores`       ranks, win rates, Elo and intervals, of any losses
`standings`    from the file of results to arrays of losses
`report`       tables in Markdown; `plots` draws them
=============  ==================================================================================
"""
