"""The coroutines of this package as blocking functions, which also work inside a running event loop; see loops.py."""

from __future__ import annotations

from mirrorsync.app import images, logins, rollback, runs, verifying
from mirrorsync.app.loops import blocking

make_plan = blocking(runs.make_plan)
verify_spec = blocking(verifying.verify_spec)
verify_location = blocking(verifying.verify_location)
list_images = blocking(runs.list_images)
apply_plan = blocking(runs.apply_plan)
apply_spec = blocking(runs.apply_spec)
roll_back = blocking(rollback.roll_back)
copy_image = blocking(runs.copy_image)
inspect_image = blocking(images.inspect_image)
read_manifest = blocking(images.read_manifest)
list_tags = blocking(images.list_tags)
plan_delete = blocking(images.plan_delete)
delete_image = blocking(images.delete_image)
check_login = blocking(logins.check_login)
