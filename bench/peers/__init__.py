"""The peers: each written as a competent user of its libraries would write it."""
