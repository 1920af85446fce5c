"""One connected agent, and all of them: admission, lists, liveness.

Storage and the bus are seen through the ports of cloudlb.domain only.
"""
