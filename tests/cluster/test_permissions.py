# tests/cluster/test_permissions.py — the role of docs/rbac.yaml is enough, and what is missing is named.
import json
import os

from cluster import ClusterTest, wait_until
from support import SOURCE


class Permissions(ClusterTest):
    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")
        done = self.cluster.run("create", "--dry-run=client", "-o", "json", "-f",
                                os.path.join(SOURCE, "docs", "rbac.yaml"))
        self.assertEqual(0, done.returncode, done.stderr)
        self.rules = json.loads(done.stdout)["rules"]
        self.create("ServiceAccount", "user")
        token = self.cluster.request("POST", self.path("ServiceAccount", "user", sub="token"), {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
        self.write_kubeconfig(self.kubeconfig, user={"token": token["status"]["token"]})

    def grant(self, rules):
        """Gives the test's user these rules and waits until the API server knows."""
        self.create("Role", "mirrord", rules=rules)
        self.create("RoleBinding", "mirrord",
                    roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "mirrord"},
                    subjects=[{"kind": "ServiceAccount", "name": "user", "namespace": self.namespace}])
        self.assertTrue(wait_until(lambda: self.is_allowed("", "services", "get"), 20, 0.1))

    def is_allowed(self, group, resource, verb):
        """What the API server knows of the user's rights by now."""
        resource, _, sub = resource.partition("/")
        review = self.cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": "system:serviceaccount:%s:user" % self.namespace, "resourceAttributes": {
                "namespace": self.namespace, "group": group, "verb": verb, "resource": resource,
                "subresource": sub}}})
        return review["status"]["allowed"]

    def without(self, resource, verb):
        """The shipped rules, less one verb on one resource; the others of its row stay."""
        rules = []
        for rule in self.rules:
            if resource not in rule["resources"] or verb not in rule["verbs"]:
                rules.append(rule)
                continue
            others = [name for name in rule["resources"] if name != resource]
            rules.append({**rule, "resources": others} if others else
                         {**rule, "verbs": [name for name in rule["verbs"] if name != verb]})
            if others:
                verbs = [name for name in rule["verbs"] if name != verb]
                if verbs:
                    rules.append({**rule, "resources": [resource], "verbs": verbs})
        return [rule for rule in rules if rule["verbs"]]

    def test_shipped_role_is_enough_for_a_job(self):
        self.grant(self.rules)
        self.assertEqual("data of %s\n" % self.pod_name, self.output("cat", "/data/hello", target="deployment/web"))
        self.expect_no_agents(15)

    def test_shipped_role_is_enough_for_an_ephemeral_container(self):
        self.grant(self.rules)
        self.assertEqual("data of %s\n" % self.pod_name,
                         self.output("cat", "/data/hello", target="deployment/web", flags=("-e",)))

    def test_no_rights_at_all(self):
        error = self.fails(target="deployment/web")
        self.assertRegex(error, r"(?s)get.*deployments")
        self.assertIn(self.namespace, error)

    def test_inside_the_cluster_its_account_is_used(self):
        """The command line runs in a pod of its own, without a kubeconfig."""
        self.grant(self.rules)
        self.create("Pod", "inside", spec={
            "restartPolicy": "Never", "serviceAccountName": "user", "containers": [{
                "name": "mirrord", "image": self.cluster.agent_image, "env": [{"name": "MIRRORD_AGENT_IMAGE", "value": self.cluster.agent_image}],
                "command": ["/mirrord", "diagnose", "latency", "-t", "deployment/web", "--count", "5"]}]})
        phases = []

        def has_ended():
            phases.append(self.get("Pod", "inside")["status"]["phase"])
            return phases[-1] in ("Succeeded", "Failed")
        self.assertTrue(wait_until(has_ended, 60, 0.2), phases)
        output = self.cluster.run("logs", "-n", self.namespace, "pod/inside").stdout
        self.assertEqual("Succeeded", phases[-1], output)
        self.assertIn("Latency statistics: min=", output)
        self.expect_no_agents(60)

    def test_each_verb_in_turn(self):
        """Without it the session works all the same, or what is missing is named; nothing stays behind."""
        self.grant(self.rules)
        pairs = [(rule["apiGroups"][0], resource, verb)
                 for rule in self.rules for resource in rule["resources"] for verb in rule["verbs"]]
        named = []
        for group, resource, verb in pairs:
            role = self.get("Role", "mirrord")
            self.cluster.request("PUT", self.path("Role", "mirrord"), {**role, "rules": self.without(resource, verb)})
            self.assertTrue(wait_until(lambda: not self.is_allowed(group, resource, verb), 20, 0.1), (resource, verb))
            flags = ("-e",) if resource == "pods/ephemeralcontainers" else ()
            out, err = self.run_remote("cat", "/data/hello", target="deployment/web", flags=flags, status=None)
            if out.decode() == "data of %s\n" % self.pod_name:
                continue
            self.assertRegex(err.decode(), r"(?s)\b%s\b.*\b%s\b" % (verb, resource))
            named.append("%s %s" % (verb, resource))
        for needed in ("get deployments", "list pods", "create jobs", "patch pods/ephemeralcontainers"):
            self.assertIn(needed, named)
        self.expect_no_agents(60)

    def expect_named(self, verb, resource, *flags, names=None):
        self.grant(self.without(resource, verb))
        error = self.fails(target="deployment/web", flags=flags)
        self.assertRegex(error, r"(?s)\b%s\b.*\b%s\b" % (verb, names or resource))

    def test_get_deployments_is_missing(self):
        self.expect_named("get", "deployments")

    def test_list_pods_is_missing(self):
        self.expect_named("list", "pods")

    def test_watch_pods_is_missing(self):
        self.expect_named("watch", "pods")

    def test_create_jobs_is_missing(self):
        self.expect_named("create", "jobs")

    def test_patch_ephemeral_containers_is_missing(self):
        self.expect_named("patch", "pods/ephemeralcontainers", "-e")

    def test_port_forward_is_missing(self):
        rules = [rule for rule in self.rules if "pods/portforward" not in rule["resources"]]
        self.grant(rules)
        error = self.fails(target="deployment/web")
        self.assertRegex(error, r"(?s)(get|create)\b.*\bpods/portforward")

    def expect_works_without(self, verb, resource):
        self.grant(self.without(resource, verb))
        self.assertEqual("data of %s\n" % self.pod_name, self.output("cat", "/data/hello", target="deployment/web"))

    def test_delete_jobs_is_missing(self):
        # The agent goes by itself, a little later.
        self.expect_works_without("delete", "jobs")
        self.expect_no_agents(60)

    def test_events_and_logs_are_missing(self):
        self.rules = self.without("events", "list")
        self.expect_works_without("get", "pods/log")
