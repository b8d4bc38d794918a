# SPDX-License-Identifier: GPL-2.0-or-later
"""What a benchmark leaves behind: a table, a JSON file, a plot."""

import datetime
import json
import os
import platform
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)


def build_dir():
    """Where everything that is built goes."""
    return os.environ.get("SDM_BUILD_DIR", os.path.join(TOP, "build"))


def first_line(argv):
    """The first line that a program prints, or None."""
    try:
        out = subprocess.run(argv, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.split("\n", 1)[0]


def _field(path, name):
    try:
        with open(path) as f:
            for line in f:
                if line.startswith(name):
                    return line.split(":", 1)[-1].split("=", 1)[-1] \
                        .strip().strip('"')
    except OSError:
        pass
    return None


def machine():
    """What the figures depend on besides the programs."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "system": _field("/etc/os-release", "PRETTY_NAME"),
        "transparent_hugepages": _field(
            "/sys/kernel/mm/transparent_hugepage/enabled", ""),
        "load_before": os.getloadavg(),
    }


class Report:
    """The samples of one benchmark, and the figures made of them."""

    def __init__(self, name, title):
        self.name = name
        self.title = title
        self.started = datetime.datetime.now(datetime.timezone.utc)
        self.machine = machine()
        self.versions = {"commit": first_line(
            ["git", "-C", TOP, "describe", "--always", "--dirty"])}
        self.options = {}
        self.samples = {}       # series -> list of figures
        self.units = {}         # series -> "ms", "kB", ...
        self.ratios = {}        # what was asked for
        self.aims = {}          # ratio -> at most
        self.notes = []
        self.details = set()    # series that are only in the JSON
        self.lines = []         # a table of the benchmark's own
        self.plots = {}         # name -> function of pyplot, gives a figure

    def add(self, series, unit, value, detail=False):
        """One sample of a series. Details are left to the benchmark's own
        table and plots."""
        self.samples.setdefault(series, []).append(value)
        self.units[series] = unit
        if detail:
            self.details.add(series)

    def median(self, series):
        """Its median, or None without samples."""
        values = self.samples.get(series)
        return statistics.median(values) if values else None

    def ratio(self, name, series, to, aim=None):
        """Median over median; left out where one side was not measured."""
        a, b = self.median(series), self.median(to)
        if a is None or not b:
            return
        self.ratios[name] = a / b
        if aim is not None:
            self.aims[name] = aim

    def print(self):
        """The table."""
        shown = {series: values for series, values in self.samples.items()
                 if series not in self.details}
        width = max([len(s) for s in shown] +
                    [len(s) for s in self.ratios] + [10])
        print(f"\n{self.title}")
        print(f"{'':{width}} {'runs':>5} {'min':>10} {'median':>10} "
              f"{'max':>10}")
        for series, values in shown.items():
            print(f"{series:{width}} {len(values):5} {min(values):10.3f} "
                  f"{statistics.median(values):10.3f} {max(values):10.3f} "
                  f"{self.units[series]}")
        for line in self.lines:
            print(line)
        for name, value in self.ratios.items():
            text = f"{name:{width}} {value:.4f}"
            if name in self.aims:
                good = value <= self.aims[name]
                text += (f"  (aim: at most {self.aims[name]:g}, "
                         f"{'met' if good else 'missed'})")
            print(text)
        for note in self.notes:
            print(f"note: {note}")

    def write(self):
        """NAME.json, NAME.png and the benchmark's own plots, NAME-PLOT.svg, in
        build/bench; return the paths."""
        folder = os.path.join(build_dir(), "bench")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, self.name + ".json")
        with open(path + ".new", "w") as f:
            json.dump({
                "benchmark": self.name,
                "title": self.title,
                "started": self.started.isoformat(timespec="seconds"),
                "machine": self.machine,
                "versions": self.versions,
                "options": self.options,
                "units": self.units,
                "samples": self.samples,
                "medians": {s: self.median(s) for s in self.samples},
                "ratios": self.ratios,
                "aims": self.aims,
                "notes": self.notes,
            }, f, indent=2)
            f.write("\n")
        os.replace(path + ".new", path)
        paths = [path]
        plot = os.path.join(folder, self.name + ".png")
        if self._plot(plot):
            paths.append(plot)
            for name, draw in self.plots.items():
                path = os.path.join(folder, f"{self.name}-{name}.svg")
                from matplotlib import pyplot
                figure = draw(pyplot)
                figure.savefig(path + ".new", format="svg")
                pyplot.close(figure)
                os.replace(path + ".new", path)
                paths.append(path)
        return paths

    def _plot(self, path):
        """Every sample as a dot, the median as a bar, one panel a unit."""
        try:
            import matplotlib
            matplotlib.use("Agg")
            from matplotlib import pyplot
        except ImportError:
            print("no plot: matplotlib is missing "
                  "(Debian: apt-get install python3-matplotlib)")
            return False
        shown = {series: unit for series, unit in self.units.items()
                 if series not in self.details}
        units = list(dict.fromkeys(shown.values()))
        counts = [sum(u == unit for u in shown.values()) for unit in units]
        figure, axes = pyplot.subplots(
            len(units), 1, squeeze=False, figsize=(9, 1 + 0.45 * sum(counts)
                                                   + 0.8 * len(units)),
            gridspec_kw={"height_ratios": counts})
        for unit, axis in zip(units, axes[:, 0]):
            names = [s for s in self.samples if shown.get(s) == unit]
            for y, series in enumerate(names):
                values = self.samples[series]
                middle = statistics.median(values)
                axis.barh(y, middle, height=0.6, color="#b0c4de")
                axis.plot(values, [y] * len(values), ".", color="#1f3a5f",
                          markersize=4)
                text = f"{middle:.3g}" if middle < 100 else f"{middle:,.0f}"
                axis.annotate(text, (middle, y), xytext=(4, 6),
                              textcoords="offset points", fontsize=8)
            axis.set_yticks(range(len(names)), names, fontsize=8)
            axis.invert_yaxis()
            axis.set_xlabel(unit)
            low = min(min(self.samples[s]) for s in names)
            high = max(max(self.samples[s]) for s in names)
            if low > 0 and high / low > 20:
                axis.set_xscale("log")
                axis.set_xlim(low / 2, high * 3)
            else:
                axis.set_xlim(0, high * 1.1 or 1)
        figure.suptitle(self.title, fontsize=10)
        figure.tight_layout()
        figure.savefig(path + ".new", format="png", dpi=120)
        pyplot.close(figure)
        os.replace(path + ".new", path)
        return True
