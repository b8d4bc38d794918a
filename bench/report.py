# SPDX-License-Identifier: GPL-2.0-or-later
"""What a benchmark leaves behind: a table, a JSON file, a plot."""

import datetime
import json
import math
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
        self.at_least = {}      # ratio -> at least
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

    def ratio(self, name, series, to, aim=None, at_least=None):
        """Median over median; left out where one side was not measured."""
        a, b = self.median(series), self.median(to)
        if a is None or not b:
            return
        self.ratios[name] = a / b
        if aim is not None:
            self.aims[name] = aim
        if at_least is not None:
            self.at_least[name] = at_least

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
            for word, aims in (("most", self.aims), ("least", self.at_least)):
                if name in aims:
                    good = (value <= aims[name] if word == "most"
                            else value >= aims[name])
                    text += (f"  (aim: at {word} {aims[name]:g}, "
                             f"{'met' if good else 'missed'})")
            print(text)
        for note in self.notes:
            print(f"note: {note}")

    def write(self):
        """NAME.json, NAME.svg and the benchmark's own plots, NAME-PLOT.svg, in
        build/bench; return the paths."""
        folder = os.path.join(build_dir(), "bench")
        os.makedirs(folder, exist_ok=True)
        data = json.dumps({
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
            "at_least": self.at_least,
            "notes": self.notes,
        }, indent=2) + "\n"
        paths = []
        for suffix, text in ((".json", data), (".svg", self.svg())):
            path = os.path.join(folder, self.name + suffix)
            with open(path + ".new", "w", encoding="utf-8") as f:
                f.write(text)
            os.replace(path + ".new", path)
            paths.append(path)
        return paths + self._plots(folder)

    def _plots(self, folder):
        paths = []
        try:
            import matplotlib
            matplotlib.use("Agg")
            from matplotlib import pyplot
        except ImportError:
            if self.plots:
                print(f"no plot of {', '.join(self.plots)}: matplotlib is "
                      "missing (Debian: apt-get install python3-matplotlib)")
            return paths
        for name, draw in self.plots.items():
            path = os.path.join(folder, f"{self.name}-{name}.svg")
            figure = draw(pyplot)
            figure.savefig(path + ".new", format="svg")
            pyplot.close(figure)
            os.replace(path + ".new", path)
            paths.append(path)
        return paths

    def svg(self):
        """Every sample as a dot, the median as a bar, one panel a unit."""
        row, left, width, y = 18, 330, 420, 34
        out = []
        shown = {series: unit for series, unit in self.units.items()
                 if series not in self.details}
        for unit in dict.fromkeys(shown.values()):
            names = [s for s in self.samples if shown.get(s) == unit]
            scale, log = _scale([v for s in names for v in self.samples[s]],
                                width)
            for name in names:
                values = self.samples[name]
                middle = statistics.median(values)
                out.append(_text(left - 8, y + 13, name, "end"))
                out.append(f'<rect x="{left}" y="{y + 3}" height="12" '
                           f'width="{scale(middle):.1f}" fill="#b0c4de"/>')
                out += [f'<circle cx="{left + scale(v):.1f}" cy="{y + 9}" '
                        f'r="2" fill="#1f3a5f"/>' for v in values]
                out.append(_text(left + scale(max(values)) + 6, y + 13,
                                 f"{middle:.3g}" if middle < 100
                                 else f"{middle:,.0f}"))
                y += row
            out.append(f'<path d="M {left} {y - row * len(names)} V {y + 2} '
                       f'h {width}" fill="none" stroke="#888"/>')
            out.append(_text(left, y + 16, unit + (", logarithmic" if log
                                                   else "")))
            y += 34
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="'
                f'{left + width + 90}" height="{y}" font-size="11" '
                'font-family="sans-serif">\n'
                '<rect width="100%" height="100%" fill="#fff"/>\n' +
                _text(12, 20, self.title) + "\n" + "\n".join(out) +
                "\n</svg>\n")


def _text(x, y, text, anchor="start"):
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _scale(values, width):
    """(value to pixels, is it logarithmic?)"""
    low, high = min(values), max(values)
    if low <= 0 or high / low <= 20:
        return (lambda v: width * v / high if high else 0), False
    floor = math.log(low / 2)
    step = width / (math.log(high) - floor)
    return (lambda v: step * (math.log(v) - floor)), True
