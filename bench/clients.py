"""The S3 server behind a throttled link, and the clients that mount it: Sluice and its peers."""

import contextlib
import json
import os
import pathlib
import secrets
import subprocess
import urllib.request

from tools import BIN, MIB, TOOLS, free_port, process, run, wait_for

PROFILES = {"lan": 250e6, "object-store": 250e6}  # bytes per second of the link
KEY, SECRET, BUCKET = "benchbench", secrets.token_hex(16), "models"


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def curl_s3(endpoint, method, path, *extra):
    config = f'user = "{KEY}:{SECRET}"\n'  # not in argv
    return run("curl", "-sSf", "--retry", "5", "--retry-all-errors", "-K", "-",
               "--aws-sigv4", "aws:amz:us-east-1:s3", "-X", method,
               "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *extra, f"{endpoint}/{path}", input=config)


@contextlib.contextmanager
def s3_server(work, size, profile):
    """A MinIO with one file of `size` bytes, and a throttled link before it."""
    port = free_port()
    env = dict(os.environ, MINIO_ROOT_USER=KEY, MINIO_ROOT_PASSWORD=SECRET, MINIO_CI_CD="1",
               MINIO_BROWSER="off", MINIO_UPDATE="off")
    cmd = [TOOLS / "minio", "server", "--address", f"127.0.0.1:{port}", work / "s3"]
    with process("minio", cmd, work, env=env):
        direct = f"http://127.0.0.1:{port}"
        wait_for("minio", lambda: answers(f"{direct}/minio/health/ready"))
        curl_s3(direct, "PUT", BUCKET)
        source = work / "model.bin"
        with open(source, "wb") as f:
            block = os.urandom(8 * MIB)
            for i in range(size // len(block)):
                f.write(i.to_bytes(8, "big") + block[8:])
        curl_s3(direct, "PUT", f"{BUCKET}/model.bin", "--upload-file", source)
        slow = free_port()
        proxy = [BIN / "throttle-proxy", "--listen", f"127.0.0.1:{slow}", "--upstream",
                 f"127.0.0.1:{port}", "--profile", profile]
        with process("throttle-proxy", proxy, work, preexec_fn=run_at_once):
            wait_for("throttle-proxy", lambda: answers(f"http://127.0.0.1:{slow}/minio/health/ready"))
            yield {"direct": direct, "slow": f"http://127.0.0.1:{slow}", "source": source}


def run_at_once():
    """A link carries its bytes whether or not this machine has a processor to spare."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


class Sluice:
    name = "sluice"

    def __init__(self, endpoint, work, cache=True, enter=None, name="sluice", more=()):
        self.mount = work / f"mnt-{name}"
        self.mount.mkdir(exist_ok=True)
        self.cache = work / "cache"
        env = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET,
                   SLUICE_RUN_DIR=str(work / "sluice-run"))
        self.env = env
        cmd = [BIN / "sluice", "mount", f"s3://{BUCKET}", self.mount, "--endpoint", endpoint,
               "--region", "us-east-1", "--path-style"]
        if cache:
            cmd += ["--cache-dir", self.cache]
        cmd += more
        run(*cmd, env=env, preexec_fn=enter)  # the client inherits its control group

    def status(self):
        out = run(BIN / "sluice", "status", "--json", env=self.env)
        found = json.loads(out.stdout)
        mounts = found["mounts"] if isinstance(found, dict) else found
        return next(m for m in mounts if m["path"] == str(self.mount))

    def pid(self):
        return self.status()["pid"]

    def close(self):
        done = subprocess.run([BIN / "sluice", "umount", self.mount], text=True, capture_output=True, env=self.env)
        if done.returncode != 0:
            raise SystemExit(f"sluice umount: {done.stdout}{done.stderr}")


def rclone_environment(endpoint, work):
    return dict(os.environ, RCLONE_CONFIG_R_TYPE="s3", RCLONE_CONFIG_R_PROVIDER="Minio",
                RCLONE_CONFIG_R_ACCESS_KEY_ID=KEY, RCLONE_CONFIG_R_SECRET_ACCESS_KEY=SECRET,
                RCLONE_CONFIG_R_ENDPOINT=endpoint, RCLONE_CONFIG=str(work / "rclone.conf"))


class Rclone:
    name = "rclone 16 x 8 MiB"
    program = TOOLS / "rclone"
    extra = ["--vfs-read-chunk-size", "8M", "--vfs-read-chunk-streams", "16"]

    def __init__(self, endpoint, work):
        self.mount = work / "mnt-rclone"
        self.mount.mkdir(exist_ok=True)
        env = rclone_environment(endpoint, work)
        with open(work / "rclone.log", "wb") as out:
            self.process = subprocess.Popen(
                [self.program, "mount", f"R:{BUCKET}", self.mount, "--vfs-cache-mode", "off",
                 "--read-only", "--s3-no-check-bucket", *self.extra], env=env, stdout=out, stderr=out)
        wait_for("rclone mount", lambda: os.path.ismount(self.mount))

    def pid(self):
        return self.process.pid

    def close(self):
        self.process.terminate()
        self.process.wait(20)


class RcloneDefault(Rclone):
    name = "rclone"
    extra = []


class RcloneDebian(RcloneDefault):
    name = "rclone of Debian"
    program = pathlib.Path("/usr/bin/rclone")


class S3fs:
    name = "s3fs"
    extra = []

    def __init__(self, endpoint, work):
        self.mount = work / "mnt-s3fs"
        self.mount.mkdir(exist_ok=True)
        password = work / "s3fs.passwd"
        password.write_text(f"{KEY}:{SECRET}\n")
        password.chmod(0o600)
        with open(work / "s3fs.log", "wb") as out:
            self.process = subprocess.Popen(
                ["s3fs", "-f", BUCKET, self.mount, "-o", f"passwd_file={password}", "-o",
                 f"url={endpoint}", "-o", "use_path_request_style", "-o", "parallel_count=8", "-o",
                 "multipart_size=16", "-o", "ro", *self.extra], stdout=out, stderr=out)
        wait_for("s3fs mount", lambda: os.path.ismount(self.mount))

    def pid(self):
        return self.process.pid

    def close(self):
        subprocess.run(["umount", str(self.mount)], check=False)
        self.process.wait(20)


def peers():
    """Those that are installed: `apt-get install rclone` brings Debian's."""
    return [Rclone, RcloneDefault, *([RcloneDebian] if RcloneDebian.program.exists() else []), S3fs]
