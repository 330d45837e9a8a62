"""Reading a site before it is merged: what a change costs, where a value comes from, who has which address.

`podlan.review.sides` and `differences` are behind `podlan diff`, `explaining` behind `podlan explain`, `showing` behind
`podlan show`. Nothing is imported here, since each command needs its own part only.
"""
