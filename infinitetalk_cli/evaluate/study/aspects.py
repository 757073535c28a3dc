"""The five perspectives of the paper's study (Table 4), and the question that asks for each."""

ASPECTS = {
    "gesture": "Do gestures go with the melody and stress of the speech?",
    "head": "Does the head move in the rhythm of the speech?",
    "lip_sync": "Do the lips go with the sound?",
    "identity": "Does the person stay the same person?",
    "naturalness": "All in all, how natural is it?",
}
