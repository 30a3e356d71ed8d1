"""Eight processes at once, three in CI: one does the work, all get the same, and no entry is lost."""

import contextlib
import functools
import os
import time

import works
from harness import WHOLE_TABLE, answer, recorded, started
from toy_answers import toy_prediction, toy_survey

import galaxy_utils as gu
from galaxy_utils.data import folder as folder_module
from galaxy_utils.data import prepare as prepare_module
from galaxy_utils.data import simulated
from galaxy_utils.data.galaxy_recipes import RECIPE_VERSION
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.files import artifacts_folder
from galaxy_utils.models import stored_features

PROCESSES = 8 if WHOLE_TABLE else 3
ROUNDS = 5 if WHOLE_TABLE else 1
# Work → the function that does it where it was not done before.
WORKERS = {
    works.simulate: (simulated, "_write_survey"),
    works.prepare: (prepare_module, "_write_prepared"),
    works.image_folder: (folder_module, "_decode_all"),
    works.features: (stored_features, "write_atomically"),
}
# In CI the damaged survey below is rendered by one of several, and a folder of images decoded.
SAMPLE = tuple(WORKERS) if WHOLE_TABLE else (works.image_folder,)


def at_the_same_time(work, folder, begin, note):
    """Wait until all processes are ready, then do the work; note whether it had to be done."""
    if work in WORKERS:
        module, name = WORKERS[work]
        does_it = getattr(module, name)

        def noting(*arguments):
            note("worked")
            return does_it(*arguments)

        setattr(module, name, noting)

    def begin_together():
        begin()
        while not (folder / "go").exists():
            time.sleep(0.001)

    return work(folder, begin_together, note)


def many_at_once(work, folder):
    """Run a work in several processes with the same folders; return results and notes."""
    together = functools.partial(at_the_same_time, work)
    together.__name__ = work.__name__
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(started(together, folder))[1] for _ in range(PROCESSES)]
        (folder / "go").touch()
        answers = [answer(connection) for connection in connections]
    assert all(state == "ended" for state, _ in answers), answers
    return [result for _, result in answers], (folder / "notes").read_text().split("\n")


def test_one_works_and_all_get_the_same(tmp_path):
    for work in SAMPLE:
        with recorded("Eight at once", work.__doc__.rstrip(".")) as outcome:
            for number in range(ROUNDS):
                # The images of a folder lie there before several processes look at them.
                place = tmp_path / f"{work.__name__}_{number}"
                results, notes = many_at_once(work, place)
                problems = [] if len(set(results)) == 1 else ["the results differ"]
                problems += [] if notes.count("worked") == 1 else [f"{notes.count('worked')} processes did the work"]
                outcome.add(PROCESSES, [f"{work.__name__}: {problem}" for problem in problems])


def test_a_damaged_survey_is_rendered_again_once(tmp_path):
    """All find it damaged, and none removes what another has rendered since."""
    with recorded("Eight at once", "A damaged survey in the cache") as outcome:
        for number in range(ROUNDS):
            place = tmp_path / str(number)
            damaged = place / "cache" / "simulated" / f"survey_n{works.SURVEY}_seed1_recipe{RECIPE_VERSION}.h5"
            damaged.parent.mkdir(parents=True)
            damaged.write_bytes(b"\x89HDF\r\n\x1a\n and nothing more")
            results, notes = many_at_once(works.simulate, place)
            same = len(set(results)) == 1 and notes.count("worked") == 1
            outcome.add(PROCESSES, [] if same else [f"{len(set(results))} results, {notes.count('worked')} times"])


def three_rounds(folder, begin, note):
    """Append to one ledger."""
    survey = toy_survey()
    begin()
    book = gu.Ledger.create(artifacts_folder() / "ledger.jsonl", *survey, seeds=(1, 2))
    names = []
    for number in range(3):
        names.append(f"{os.getpid()} {number}")
        while True:
            recipe, options = gu.recipes.THREE_BLOCK_CNN, {"reference": bool(book.rounds), "label": names[-1]}
            try:
                book.play(names[-1], lambda one, seed: toy_prediction(survey, seed), recipe, **options)
                break
            except ConfigurationError:
                # Another process has recorded the first round in the meantime: play it again, against that one.
                book = gu.Ledger(book.path)
        note(names[-1])
    return "done"


def test_no_round_is_lost(tmp_path):
    with recorded("Eight at once", three_rounds.__doc__.rstrip(".")) as outcome:
        for number in range(ROUNDS):
            _, notes = many_at_once(three_rounds, tmp_path / str(number))
            book = gu.Ledger(tmp_path / str(number) / "artifacts" / "ledger.jsonl")
            book.replay()
            found, promised = [one.name for one in book.rounds], [note for note in notes if note]
            same = sorted(found) == sorted(promised) and len(found) == 3 * PROCESSES
            outcome.add(PROCESSES, [] if same else [f"{len(promised)} rounds promised, {len(found)} found"])
