"""The host's own home page, shown at ``/`` where no function answers there."""

HOME_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Function app</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}</style>
<h1>Your function app is up and running</h1>
<p>This is the host's own page. <a href="/admin/functions">/admin/functions</a> lists the functions.</p>
</html>
"""
