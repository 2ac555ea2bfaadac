// Alerts on the log, the workbook, and who is told; docs/operate.md has the runbook of each alert.
param name string
param location string
param tags object
param workspaceId string
param alertEmail string
param alertLatencyMs int
param rotation bool

// Each query has a row while something is wrong. AppRequests is the host's, and may be sampled: ItemCount is how many a row
// stands for. AppMetrics are the gateway's own.
var known = loadJsonContent('monitoring/alerts.json')
var rules = rotation ? concat(known.always, known.ofRotation) : known.always

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
    displayName: rule.name
    description: '${rule.description} docs/operate.md#${toLower(rule.name)}'
    enabled: true
    severity: rule.severity
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: rule.window
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: replace(join(rule.query, '\n'), 'ALERT_LATENCY_MS', string(alertLatencyMs))
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

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspaceId, 'scoring-gateway')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Scoring gateway'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: replace(loadTextContent('monitoring/workbook.json'), 'WORKSPACE_ID', workspaceId)
  }
}
