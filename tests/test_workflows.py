"""What GitHub does for a fork: the files hold what can be checked without GitHub."""

import re

import build_site
import pytest
import yaml
from browser import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
READS = {"contents": "read"}


def load(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text("utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_is_there(path):
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[
        1
    ].split()
    workflow = load(path.name)
    assert workflow["permissions"] == READS
    made = 0
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] > 0
        assert {job.get("needs")} - {None} <= set(workflow["jobs"])
        steps = {step["id"] for step in job["steps"] if "id" in step}
        wanted = set(re.findall(r"\bsteps\.(\w+)\.", str(job)))
        assert wanted <= steps
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))
            for command in re.findall(r"\bmake ([\w-]+.*)", step.get("run", "")):
                target, *settings = command.split()
                assert target in targets
                assert settings == ["PYTHON=python", "TORCH=cpu"], "no CUDA where there is no GPU"
                made += 1
    assert made == 1


def test_pages_publishes_the_folder_that_make_site_builds(tmp_path, monkeypatch):
    jobs = load("pages.yml")["jobs"]
    (upload,) = [s for s in jobs["build"]["steps"] if "upload-pages" in s.get("uses", "")]
    built = []
    monkeypatch.setattr(build_site, "build", lambda root, output: built.append(output))
    assert build_site.main(["--root", str(tmp_path)]) == 0
    assert built == [tmp_path / upload["with"]["path"]]


def test_pages_may_publish_in_one_job_only_and_runs_none_before_pages_is_switched_on():
    jobs = load("pages.yml")["jobs"]
    writes = {name for name, job in jobs.items() if "write" in str(job.get("permissions"))}
    assert writes == {"publish"}
    assert jobs["publish"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert jobs["publish"]["needs"] == "build" and jobs["build"]["needs"] == "ask"
    assert jobs["build"]["if"] == "needs.ask.outputs.pages == 'on'"
    assert jobs["ask"]["if"] == "github.ref_name == github.event.repository.default_branch"
