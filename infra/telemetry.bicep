// The log, Application Insights, and alerts on what the host itself reports of requests and of the timer.
param name string
param location string
param tags object
param appPrincipalId string
param retentionDays int
param alertEmail string
param alertLatencyMs int
param timerAlert bool

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

// Each query has a row while something is wrong. Requests may be sampled: itemCount is how many one stands for.
var always = [
  {
    name: 'errors'
    description: 'Over 1 % of the requests, and at least 5, were answered with 5xx.'
    query: 'requests | summarize failed = sumif(itemCount, toint(resultCode) >= 500), total = sum(itemCount) | where failed >= 5 and failed > 0.01 * total'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT5M'
  }
  {
    name: 'latency'
    description: 'Scores take longer than they should: the 95th percentile.'
    query: 'requests | where name startswith "score" or name in ("tf_serving_v1", "open_inference_v2") | summarize p95 = percentile(duration, 95) | where p95 > ${alertLatencyMs}'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT5M'
  }
]
var ofTimer = [
  {
    name: 'timer'
    description: 'The rotation has not run for half an hour: certificates would expire unnoticed.'
    query: 'requests | where name == "rotate" and tobool(success)'
    operator: 'LessThan'
    threshold: 1
    window: 'PT30M'
  }
]
var rules = timerAlert ? concat(always, ofTimer) : always

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: 'log-${name}'
  location: location
  tags: tags
  properties: {
    retentionInDays: retentionDays
    sku: {
      name: 'PerGB2018'
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${name}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource appAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  scope: insights
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'gateway'
    enabled: true
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'alert-${rule.name}-${name}'
  location: location
  tags: tags
  properties: {
    displayName: 'Scoring gateway: ${rule.name}'
    description: rule.description
    enabled: true
    severity: 1
    scopes: [
      insights.id
    ]
    evaluationFrequency: 'PT5M'
    windowSize: rule.window
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: rule.operator
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(alertEmail) ? [] : [
        mail.id
      ]
    }
  }
}]

output connectionString string = insights.properties.ConnectionString
