"""One video on several processes: who does what, how they are started, what they tell each other, how they end.

The main process (rank 0) is an ordinary `dub`, all others are its peers. Every process leads a team (of one, or of
several around one transformer) that makes whole streams of the plan, or follows the leader of one:

    place.py         which of several processes this is
    link.py          what they tell each other
    watch.py         that one of them is gone
    main_process.py  its side of the chunk loop
    peer.py      all that the others do
    team.py          several processes around one transformer
    launching.py     starting them, through accelerate's launcher
"""
