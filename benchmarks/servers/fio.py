"""fio's random reads past the page cache, as other programs here are measured: python fio.py FOLDER SECONDS."""

import json
import subprocess
import sys

folder, seconds = sys.argv[1:]
OPTIONS = "--name=reads --rw=randread --bs=4k --direct=1 --ioengine=io_uring --iodepth=64 --norandommap"
limit = ("--time_based", f"--runtime={float(seconds) * 1000:.0f}ms")
command = ["fio", *OPTIONS.split(), f"--filename={folder}/0", *limit, "--output-format=json"]
job = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["jobs"][0]
cpu_seconds = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["read"]["runtime"] / 1000
numbers = {
    "operations_per_second": round(job["read"]["iops"], 1),
    "cpu_us_per_operation": round(cpu_seconds * 1e6 / job["read"]["total_ios"], 3),
}
print(json.dumps(numbers))
