"""The stages of a dub, in order; each file holds one declaration and its function."""

from infinitetalk_cli.stages.audio_embedding import AUDIO_EMBEDDING
from infinitetalk_cli.stages.camera_motion import CAMERA_MOTION
from infinitetalk_cli.stages.demux import DEMUX
from infinitetalk_cli.stages.diarization import DIARIZATION
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.inspection import INSPECTION
from infinitetalk_cli.stages.keyframes import KEYFRAMES
from infinitetalk_cli.stages.remux import REMUX
from infinitetalk_cli.stages.scenes import SCENES
from infinitetalk_cli.stages.speech_spans import SPEECH_SPANS
from infinitetalk_cli.stages.text_embedding import TEXT_EMBEDDING
from infinitetalk_cli.stages.voices import VOICES

STAGES = (
    DEMUX,
    SCENES,
    CAMERA_MOTION,
    VOICES,
    DIARIZATION,
    SPEECH_SPANS,
    AUDIO_EMBEDDING,
    TEXT_EMBEDDING,
    KEYFRAMES,
    GENERATE,
    INSPECTION,
    REMUX,
)
