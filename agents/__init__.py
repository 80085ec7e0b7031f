"""The LangGraph side: graphs, tools, the gate and the saver. Imports neither Django nor anything of the web app.

Strict msgpack must be on before langgraph is imported: without it whoever can write a checkpoint row runs code in the
worker (measured: `os.system` ran on load). The worker asserts it at start.
"""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
