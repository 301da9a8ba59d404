"""SIP as code: `config/sip.yaml` on one side, a LiveKit server on the other."""
