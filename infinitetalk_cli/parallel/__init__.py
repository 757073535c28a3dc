"""One video on several processes: who does what, how they are started, what they tell each other, how they end.

The first process is the boss, an ordinary `dub`. Every process makes whole streams of its plan, or helps one that does:

    place.py     which of several processes this is
    link.py      what they tell each other
    watch.py     that one of them is gone
    boss.py      the boss's side of the chunk loop
    helper.py    all that the others do
    team.py      several processes around one transformer
    launching.py starting them, through accelerate's launcher
"""
