"""A language model and a voice made of several providers, as plugins of livekit-agents.

The framework's fallback adapters do not serve a telephone: they wait for a provider that trickles,
let a reply end where its provider failed, keep what they know of a provider to one process, and
probe a lost one with the caller's own request, which is billed.
"""

from plugins.chain import llm, tts
from plugins.chain.llm import LLM
from plugins.chain.members import Member, Standing
from plugins.chain.sentences import Whole
from plugins.chain.tts import TTS

__all__ = ["LLM", "TTS", "Member", "Standing", "Whole", "llm", "tts"]
