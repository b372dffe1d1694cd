"""The documents and tasks keep their promises: `python3 -m unittest builtin.test_tasks`, in the folder above. Needs nothing but Python."""

import hashlib
import json
import unittest

from . import letters, tasks
from .documents import Figure
from .words import Words, is_for_test

# Fields that are not copied from the text, but written anew.
REWRITTEN = {"date", "due", "currency", "rating", "topic", "mood"}


def drawn(count, seed, test=False, level=1.0):
    draw = tasks.stream(seed, test)
    return [draw(level) for _ in range(count)]


class Tasks(unittest.TestCase):
    def test_same_seed_same_conversations(self):
        def digest(seed):
            text = json.dumps([made.turns for made in drawn(300, seed)])
            return hashlib.sha256(text.encode()).hexdigest()

        self.assertEqual(digest("a"), digest("a"))
        self.assertNotEqual(digest("a"), digest("b"))

    def test_answers_are_what_the_document_says(self):
        for made in drawn(2000, "truth") + drawn(1000, "truth", test=True):
            document = made.document
            for name, value in document.fields.items() if document else ():
                if name == "items":
                    for item in value:
                        self.assertIn(item["name"], document.text)
                elif isinstance(value, Figure) or name in REWRITTEN:
                    # Stars may be drawn, topics and moods are not printed.
                    self.assertIn("" if name in ("rating", "topic", "mood") else document.printed[name], document.text, name)
                elif value is not None:
                    self.assertIn(value, document.text, name)

    def test_extractions_are_json_in_the_order_of_the_request(self):
        for made in drawn(1500, "json", level=0.3):
            if made.task == "extract":
                value = json.loads(made.answer())
                self.assertEqual(list(value), [key for key, _, _ in made.asked])
                # One line, a space after each comma and colon, as the engine's constraint writes it. Numbers keep their digits, so they
                # are compared as text, and the quotation marks left out.
                digits = json.loads(made.answer(), parse_int=str, parse_float=str)
                self.assertEqual(json.dumps(digits, ensure_ascii=False).replace('"', ""), made.answer().replace('"', ""))

    def test_labels_are_among_those_offered(self):
        for made in drawn(800, "labels"):
            if made.task == "classify":
                self.assertIn(made.answer(), made.asked[0][0])
                self.assertEqual(len(set(made.asked[0][0])), len(made.asked[0][0]), made.asked)

    def test_training_and_test_share_no_made_up_word_and_no_phrase(self):
        for test in (False, True):
            words = Words("made up", test, invented=("lange", "orseat", "castle", "wangmo", "ringord"))
            self.assertTrue(all(is_for_test(words.made_up()) == test for _ in range(2000)))
            self.assertTrue(all(is_for_test(words.of(pool)) == test for pool in (letters.OPENERS, letters.CLOSERS) for _ in range(50)))
        for topic in letters.TOPICS.values():
            training, test = letters.halves(topic["phrases"], topic["more"])
            self.assertFalse(set(training) & set(test))
            self.assertGreaterEqual(len(test), 2)

    def test_new_layouts_are_for_the_test_only(self):
        self.assertFalse(any(made.document and made.document.new_layout for made in drawn(1500, "layouts")))
        self.assertGreater(sum(made.document is not None and made.document.new_layout for made in drawn(500, "layouts", test=True)), 100)


if __name__ == "__main__":
    unittest.main()
