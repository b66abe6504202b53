import unittest

from notes import note


class NoteTest(unittest.TestCase):
    def test_only_leads_over_the_threshold_are_noted(self):
        self.assertIsNone(note(100.0, 100.0))
        self.assertEqual(note(100.5, 100.0), "Expected revenue 100.5 is over 100.")
